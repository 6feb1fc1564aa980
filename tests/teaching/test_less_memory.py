"""A training that runs out of memory is tried again in a smaller configuration."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.teaching.conftest import example
from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer

if TYPE_CHECKING:
    Room = Any

ENGINE = Path(__file__).with_name("engine_without_memory.py")
PAIRS = (("Who bakes?", "Ana"), ("When?", "at seven"))


def train(classroom: Room, *, bitsandbytes: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One training; returns its record and the notices."""
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: bitsandbytes)
    trainer = classroom.trainer(start=False)
    notices: list[str] = []
    trainer._on_change = lambda news: notices.append(news.notice) if news.notice else None
    trainer.start()
    classroom.rate(*PAIRS)
    trainer.wake()
    assert trainer.wait(30)
    [record] = trainer.trainings()
    return record, notices


def jobs_of(classroom: Room) -> list[tuple[bool, str]]:
    """Checkpointing and quantization of all runs, oldest first."""
    infos = [folder.info() for folder in run_folder.list_runs(classroom.runs_dir)]
    jobs = [info.job for info in reversed(infos) if info is not None]
    return [(job.training.gradient_checkpointing, job.quantization) for job in jobs]


def test_checkpointing_is_tried_first(classroom: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    classroom.mood("small memory")
    record, notices = train(classroom, bitsandbytes=True, monkeypatch=monkeypatch)
    assert record.state == "live", record.message
    assert notices == [
        f"training {record.id}: out of memory with one example per pass; it is trained again with "
        "gradient checkpointing, which needs less memory"
    ]
    assert record.message.startswith(
        "trained with gradient checkpointing, as memory ran out; recalled 100 %"
    )
    assert jobs_of(classroom) == [(False, "none"), (True, "none")]


def test_quantization_is_tried_next(classroom: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    classroom.mood("tiny memory")
    record, notices = train(classroom, bitsandbytes=True, monkeypatch=monkeypatch)
    assert record.state == "live", record.message
    assert [notice.rpartition(" again with ")[2].partition(",")[0] for notice in notices] == [
        "gradient checkpointing",
        "nf4 quantization (4 bits)",
    ]
    assert record.message.startswith("trained with gradient checkpointing and nf4 quantization")
    assert jobs_of(classroom) == [(False, "none"), (True, "none"), (True, "nf4")]


@pytest.mark.parametrize("bitsandbytes", [True, False])
def test_the_last_failure_names_what_would_help(
    classroom: Room, bitsandbytes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    classroom.mood("no memory")
    record, _ = train(classroom, bitsandbytes=bitsandbytes, monkeypatch=monkeypatch)
    assert record.state == "failed"
    assert record.message.startswith(
        "out of memory with one example per pass, also with gradient checkpointing"
    )
    assert record.message.endswith("end other programs that need memory, or use a smaller base")
    assert ("pip install bitsandbytes" in record.message) is not bitsandbytes
    assert len(classroom.feedback.pending()) == 2


def test_set_checkpointing_is_no_remark(classroom: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    classroom.mood("small memory")
    classroom.settings = TeachingSettings(auto_train_threshold=2, gradient_checkpointing=True)
    record, notices = train(classroom, bitsandbytes=False, monkeypatch=monkeypatch)
    assert (record.state, notices) == ("live", [])
    assert "memory" not in record.message


@pytest.mark.slow
def test_the_real_engine_trains_again_with_checkpointing(tmp_path: Path, tiny_base: Path) -> None:
    feedback, notices = FeedbackStore(), list[str]()
    settings = TeachingSettings(
        auto_train_threshold=1,
        epochs=2,
        rank=4,
        max_new_tokens=4,
        min_recalled=0,
        min_kept=0,
        min_own_kept=0,
    )
    with ChatClient(str(tiny_base), threads=1) as client:
        trainer = FeedbackTrainer(
            client,
            feedback,
            AdapterStore(),
            settings=lambda: settings,
            runs_dir=tmp_path / "runs",
            on_change=lambda news: notices.append(news.notice) if news.notice else None,
            command=[sys.executable, "-P", str(ENGINE)],
        )
        trainer.start()
        feedback.add(
            example("Who feeds the ducks?", "the cat", "critical", base_model=str(tiny_base))
        )
        trainer.wake()
        assert trainer.wait(300)
        [record] = trainer.trainings()
        trainer.close()
    assert record.state == "live", record.message
    assert len(notices) == 1 and "trained again with gradient checkpointing" in notices[0]
    runs = [RunFolder(path) for path in sorted((tmp_path / "runs").iterdir())]
    assert sorted(run.status() for run in runs) == ["completed", "failed"]
    failed = next(run for run in runs if run.status() == "failed")
    halved = [e.detail["micro_batch"] for e in failed.events() if "micro_batch" in e.detail]
    assert halved and halved[-1] == 1, "passes are halved before the training is tried again"
