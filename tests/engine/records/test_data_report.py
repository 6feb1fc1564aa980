"""Settings that cannot work end the preparation, before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.records import data_report
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("data", {"retain": "train.jsonl", "retain_per_step": 2}),
        ("training", {"stop_when_learned": 2}),
    ],
)
def test_what_one_process_must_do_is_refused_however_many_were_started(
    make_run: Callable[..., RunFolder], tmp_path: Path, section: str, changes: dict[str, object]
) -> None:
    """The job says one process, and torchrun has started two."""
    folder = make_run(**{section: changes})
    info = folder.info()
    assert info is not None
    report = RunReporter(folder)
    data_report.report_findings(report, info.job, 1, resumed=False)
    with pytest.raises(UserError, match=r"needs training.processes = 1, as .* in one process"):
        data_report.report_findings(report, info.job, 2, resumed=False)
    report.close()
