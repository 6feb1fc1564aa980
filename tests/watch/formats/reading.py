"""Reading a run as the watcher does, for the tests of other tools' formats."""

from __future__ import annotations

from pathlib import Path

from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.snapshots import MetricTable, RunKind, RunView
from tui_trainer.watch.tables.source import Source

Points = list[tuple[float, float]]


def drain(source: Source) -> Source:
    """Reads all that is there."""
    for _ in range(10_000):
        if not source.read()[1]:
            source.settle()
            return source
    raise AssertionError("the source never ends")


def read_run(path: Path, kind: RunKind, part: str = "") -> RunView:
    key = Path(f"{path}#run={part}") if part else path
    reader = RunReader(RunLocation(key, kind, path.name, path.name, part))
    for _ in range(10_000):
        if not reader.read()[1]:
            return reader.view()
    raise AssertionError("the run never ends")


def points(table: MetricTable, name: str) -> Points:
    """A series as pairs; a value that is not finite is written as -1."""
    x, y = table.series(name)
    return [(a, -1.0 if b != b else b) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
