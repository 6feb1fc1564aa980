"""Precision, quantization and checkpointing of a training's job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.teaching.conftest import example
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.teaching.plan import write_plan
from tui_trainer.teaching.retention.replay import RetentionReserve

if TYPE_CHECKING:
    Room = Any


def plan(classroom: Room, folder: Path, settings: TeachingSettings, **facts: Any) -> Job:
    corrections = [example("Who bakes?", "Ana")]
    ready = msgspec.structs.replace(classroom.client.start(), **facts)
    reserve = RetentionReserve([], [], [], [])
    return write_plan(folder, corrections, corrections, reserve, settings, ready, None)


@pytest.mark.parametrize(
    ("setting", "dtype", "expected"),
    [
        ("auto", "float32", "fp32"),
        ("auto", "bfloat16", "bf16"),
        ("fp32", "bfloat16", "fp32"),
        ("bf16", "float32", "bf16"),
    ],
)
def test_the_precision_is_that_of_the_chat_unless_set(
    classroom: Room, tmp_path: Path, setting: Any, dtype: str, expected: str
) -> None:
    job = plan(classroom, tmp_path, TeachingSettings(precision=setting), dtype=dtype)
    assert job.training.precision == expected


def test_quantization_and_checkpointing_become_part_of_the_job(
    classroom: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: True)
    job = plan(classroom, tmp_path, TeachingSettings())
    assert (job.quantization, job.training.gradient_checkpointing) == ("none", False)
    settings = TeachingSettings(quantization="nf4", gradient_checkpointing=True)
    job = plan(classroom, tmp_path, settings)
    assert (job.quantization, job.training.gradient_checkpointing) == ("nf4", True)


def test_what_is_not_possible_here_is_one_sentence(
    classroom: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: False)
    with pytest.raises(UserError, match=r'teaching.quantization = "nf4" needs bitsandbytes: pip'):
        plan(classroom, tmp_path, TeachingSettings(quantization="nf4"))
    with pytest.raises(UserError, match=r'teaching.precision = "fp16" needs an NVIDIA GPU'):
        plan(classroom, tmp_path, TeachingSettings(precision="fp16"))
    assert (
        plan(
            classroom, tmp_path, TeachingSettings(precision="fp16"), device="cuda:0"
        ).training.precision
        == "fp16"
    )
