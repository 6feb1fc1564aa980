"""The rate that a run has now, and how far another is from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.store import atomic, jobs
from tui_trainer.store.runs import present_rate, run_folder
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run whose schedule has the peak 1e-3, and no step yet."""
    data = tmp_path / "train.jsonl"
    data.write_text('{"text": "a"}\n')
    values = {
        "name": "small",
        "data": {"train": str(data)},
        "training": {"max_steps": 9, "learning_rate": 1e-3},
    }
    job = jobs.check_job(values, tmp_path, "test job")
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    atomic.write_json(
        run.info_file, run_folder._info("small", "small", job, tmp_path / "base", None, ("", {}))
    )
    return run


def test_the_newest_row_that_has_a_rate_counts(folder: RunFolder) -> None:
    rows = [
        *(f'{{"kind":"train","step":{step},"learning_rate":9.0}}' for step in range(2_000)),
        '{"kind":"train","step":2000,"learning_rate":2e-4}',
        '{"kind":"train","step":2001}',
        '{"kind":"eval","step":2001,"val_loss":1.0,"learning_rate":7.0}',
        '{"kind":"train","step":2002,"learn',
    ]
    folder.metrics_file.write_text("\n".join(rows))
    assert present_rate.newest_rate(folder) == 2e-4
    assert present_rate.rise(folder, 0.05) == "0.05 is 250 times the current rate, 2e-4"
    assert present_rate.rise(folder, 2e-3) is None


@pytest.mark.parametrize("rows", ["", '{"kind":"train","step":1,"learning_rate":0.0}\n'])
def test_without_a_rate_above_0_the_peak_is_the_measure(folder: RunFolder, rows: str) -> None:
    folder.metrics_file.write_text(rows)
    assert present_rate.rise(folder, 0.1) == "0.1 is 100 times the run's peak rate, 1e-3"
    assert present_rate.rise(folder, 1e-3) is None


def test_without_a_known_rate_there_is_no_warning(tmp_path: Path) -> None:
    assert present_rate.newest_rate(RunFolder(tmp_path)) is None
    assert present_rate.rise(RunFolder(tmp_path), 5.0) is None
