"""The panel with the settings of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.job import DataSettings, Job, TrainingSettings
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.tui.dashboard.job_panel import job_facts_of
from tui_trainer.watch.snapshots import RunSummary, RunView


@pytest.mark.parametrize(("share", "text"), [(0.005, "0.5 %"), (0.125, "12.5 %"), (0.2, "20 %")])
def test_the_validation_share_is_shown_as_it_was_set(share: float, text: str) -> None:
    job = Job(
        name="a",
        data=DataSettings(train="/data/train.jsonl", val_split=share),
        training=TrainingSettings(max_steps=10),
    )
    info = RunInfo(
        id="a", name="a", created_at=0.0, job=job, base_model="builtin", base_path=None,
        base_hash=None, data_hash="0" * 64, data_files={}, versions={}, host="here", seed=42,
    )  # fmt: skip
    view = RunView(RunSummary(Path("/runs/a"), "a", "a", "run", "training"), info=info)
    assert dict(job_facts_of(view).lines)["val"] == f"{text} of the rows"
