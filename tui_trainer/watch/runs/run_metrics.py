"""Selects the reader for the metrics of a run, of this program or of another tool."""

from __future__ import annotations

from tui_trainer.watch.formats import registry
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.tables.metrics_file import MetricsFile
from tui_trainer.watch.tables.source import Source

OUR_TOOL = "tui-trainer"


def open_metrics(location: RunLocation) -> Source:
    """The reader of a run's metrics."""
    if location.kind == "run":
        return MetricsFile(location.metrics)
    return registry.open_source(location)


def tool_of(location: RunLocation) -> str:
    """The usual name of the tool that wrote the run."""
    return OUR_TOOL if location.kind == "run" else registry.tool(location)
