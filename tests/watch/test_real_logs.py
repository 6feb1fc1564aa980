"""Logs of real trainings, against an independent reading."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.scan import Scanner

_DATA = os.environ.get("TUI_TRAINER_SHARED_DATA", "")
LOGS = sorted(Path(_DATA).glob("healthy_runs/*.metrics.jsonl")) if _DATA else []
pytestmark = pytest.mark.skipif(not LOGS, reason="TUI_TRAINER_SHARED_DATA names no logs")


@pytest.mark.parametrize("log", LOGS, ids=lambda path: path.stem)
def test_every_value_is_right(log: Path) -> None:
    reader = RunReader(RunLocation(log, "jsonl", log.name, log.stem))
    while reader.read()[1]:
        pass
    view = reader.view()
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(view.train) == len(rows) > 6000
    assert set(view.train.columns) == set(rows[0])
    for name, column in view.train.columns.items():
        np.testing.assert_array_equal(column, np.array([row[name] for row in rows], dtype=float))
    assert view.warnings == ()
    assert view.summary.status == "recorded"


def test_they_are_found() -> None:
    assert {location.path for location in Scanner(LOGS[0].parent).scan().locations.values()} == set(
        LOGS
    )
