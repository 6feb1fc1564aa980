"""A loop's run, and looking at what it left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.writer import RunWriter

MakeRun = Callable[..., RunWriter]


@pytest.fixture
def make_run(tmp_path: Path) -> Iterator[MakeRun]:
    """Makes writers below the test's folder, and ends them with the test."""
    made: list[RunWriter] = []

    def make(**settings: Any) -> RunWriter:
        run = RunWriter(tmp_path / "runs", **{"name": "mine", "hardware": False, **settings})
        made.append(run)
        return run

    yield make
    for run in made:
        run.finish()
