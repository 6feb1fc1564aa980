"""What reads the metrics of a run: our own format in run folders, else a reader of its tool."""

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
    """The name of the tool that wrote the run, as its users call it."""
    return OUR_TOOL if location.kind == "run" else registry.tool(location)
