"""Estimates of a job compared with its run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.preflight import estimate as estimating
from tui_trainer.engine.preflight import memory_use
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.fixture(autouse=True)
def short_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimating, "PROBE_SECONDS", 0.2)


def test_counts_and_disk_are_those_of_the_run(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Callable[..., dict[tuple[str, int], dict[str, Any]]],
    tmp_path: Path,
) -> None:
    settings = {"epochs": 3.0, "max_steps": None, "keep_checkpoints": 2, "eval_every": 5}
    folder = make_run(training=settings)
    info = folder.info()
    assert info is not None
    before = set(tmp_path.rglob("*"))
    found = estimating.estimate(info.job)
    assert set(tmp_path.rglob("*")) == before
    assert run_engine(folder) == 0
    rows = metrics(folder)
    steps = [row for (kind, _), row in rows.items() if kind == "train"]
    assert found.steps == len(steps)
    assert found.tokens == pytest.approx(sum(row["tokens"] for row in steps), abs=len(steps))
    assert found.evaluations == sum(kind == "eval" for kind, _ in rows)
    assert found.epochs == rows["train", found.steps]["epoch"] == 3.0
    newest = folder.checkpoints_dir / f"step-{found.steps:08d}"
    size = sum(file.stat().st_size for file in newest.iterdir())
    assert found.checkpoint_bytes == pytest.approx(size, rel=0.02)
    assert found.checkpoints == 3  # two, and the one that is to replace the older
    assert found.fits and found.measured and not found.advice
    assert 0 < found.base_bytes < found.peak_bytes < found.available_bytes
    assert found.seconds > found.startup_seconds + found.steps * found.step_seconds


@pytest.mark.parametrize("on", [False, True])
def test_what_gradient_checkpointing_saves_is_measured(
    on: bool, make_run: Callable[..., RunFolder]
) -> None:
    training = {"max_steps": 3, "batch_size": 8, "gradient_checkpointing": on}
    info = make_run(training=training).info()
    assert info is not None
    saving = estimating.estimate(info.job).checkpointing
    assert saving is not None and saving.time_factor > 0
    assert 0 < saving.kept_bytes_with < 0.8 * saving.kept_bytes, "two layers' inputs, and the head"


@pytest.mark.parametrize(("fits", "proposed"), [(16, 16), (15, 8), (7, 4), (1, 1), (0, None)])
def test_a_smaller_batch_keeps_the_step(fits: int, proposed: int | None) -> None:
    session: Any = SimpleNamespace(
        job=SimpleNamespace(
            training=TrainingSettings(batch_size=16),
            data=SimpleNamespace(max_length=100),
        ),
        forward_mode=SimpleNamespace(packed=True),
    )
    load = estimating.StepLoad([1600], [Example([1] * 100, [1] * 100, 1.0)] * 16, 1600)
    used = estimating.MemoryEstimate(peak=0, fixed=1000, per_token=10.0, measured=False)
    room = int((1000 + 10 * 100 * fits) / memory_use.SHARE) + 1
    assert estimating._micro_batch(session, load, used, room) == proposed
    if proposed is not None:
        assert estimating._advice(session, proposed) == [
            f"set training.batch_size = {proposed} and training.gradient_accumulation_steps = "
            f"{16 // proposed}: the step stays the same"
        ]


def test_where_no_example_fits_other_settings_are_suggested(
    make_run: Callable[..., RunFolder], run_engine: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = make_run().info()
    assert info is not None
    monkeypatch.setattr(memory_use, "available_bytes", lambda device: 1)
    found = estimating.estimate(info.job)
    assert not found.fits and not found.measured and found.micro_batch is None
    assert [sentence.split()[1] for sentence in found.advice[:2]] == [
        "training.gradient_checkpointing",
        "training.precision",
    ]
    assert found.advice[2].startswith("set data.max_length below 64")


def test_seconds_are_scaled_by_tokens() -> None:
    times = [0.1 + 0.01 * tokens for tokens in (10, 20, 30, 40, 50, 60)]
    assert estimating.scaled_mean(times, [10, 20, 30, 40, 50, 60], 100) == pytest.approx(1.1)
    assert estimating.scaled_mean([2.0, 2.0], [10, 10], 15) == pytest.approx(3.0)
    assert estimating.scaled_mean([2.0, 2.0, 2.0, 9.0], [10] * 4, 10) == pytest.approx(2.0)
