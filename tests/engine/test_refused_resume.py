"""A refused resume leaves the run unchanged, with an event that has the reason."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.cli.headless import run_headless
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import Command, RunInfo, RunState
from tui_trainer.engine import setup
from tui_trainer.engine.data import dataset
from tui_trainer.launch.engine_process import start_engine
from tui_trainer.models import base_model
from tui_trainer.store import atomic, file_lock
from tui_trainer.store.runs import checkpoints, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
Spoil = Callable[[RunFolder, pytest.MonkeyPatch], None]

ENDS = ("completed", "early_stopped", "cancelled", "failed", "crashed")
AT = "step-00000003"


def nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Change the checkpoint so that a resume from it is refused."""


def change_job(folder: RunFolder, change: Callable[[RunInfo], RunInfo]) -> None:
    info = folder.info()
    assert info is not None
    atomic.write_json(folder.info_file, change(info))


def train_file(folder: RunFolder) -> Path:
    return folder.path.parent.parent / "train.jsonl"


def other_rank(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def changed(info: RunInfo) -> RunInfo:
        lora = msgspec.structs.replace(info.job.lora, rank=5)
        return msgspec.structs.replace(info, job=msgspec.structs.replace(info.job, lora=lora))

    change_job(folder, changed)


def no_base(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    job = {"model": str(folder.path / "no-such-model")}
    change_job(
        folder,
        lambda info: msgspec.structs.replace(info, job=msgspec.structs.replace(info.job, **job)),
    )


def other_data(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": f"which {i}?", "answer": "another"} for i in range(20)]
    train_file(folder).write_bytes(b"".join(msgspec.json.encode(r) + b"\n" for r in rows))


def no_data(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    train_file(folder).unlink()


def damaged(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder.checkpoints_dir / AT / "optimizer.safetensors").write_bytes(b"no tensors")


def strange(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole by its manifest, but nothing that can be read."""
    (folder.checkpoints_dir / AT / "optimizer.safetensors").write_bytes(b"no tensors")
    (folder.checkpoints_dir / AT / checkpoints.MANIFEST).unlink()
    checkpoints.seal(folder.checkpoints_dir / AT, 3)


def no_memory(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: Any, **__: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(base_model, "load_base", load)


def no_device(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def pick() -> Any:
        raise RuntimeError("no device")

    monkeypatch.setattr(base_model, "pick_device", pick)


REFUSALS: list[tuple[Spoil, str, str]] = [
    (nothing, "no-such-checkpoint", "has no checkpoint 'no-such-checkpoint'"),
    (damaged, AT, f"checkpoint {AT} cannot be used"),
    (strange, AT, "SafetensorError"),
    (other_rank, AT, "the saved adapter does not fit"),
    (no_base, AT, "no-such-model"),
    (other_data, AT, "the data has changed since the run started"),
    (no_data, AT, "train.jsonl"),
    (no_memory, AT, "out of memory"),
    (no_device, AT, "no device"),
]


def contents(folder: RunFolder) -> dict[str, bytes]:
    """Every file of a run but its log and events."""
    passed_over = (folder.events_file, folder.log_file, folder.lock_file)
    return {
        str(file.relative_to(folder.path)): file.read_bytes()
        for file in sorted(folder.path.rglob("*"))
        if file.is_file() and file not in passed_over
    }


def ended(folder: RunFolder, word: str) -> None:
    """Set the final state of a run."""
    state = folder.state()
    assert state is not None
    name: Any = "training" if word == "crashed" else word
    changes = {"state": name, "message": f"it was {word}", "pid": 2**22 + 1, "step": 9}
    run_folder.write_state(folder, msgspec.structs.replace(state, **changes))
    assert folder.status() == word


@pytest.mark.parametrize(
    ("spoil", "checkpoint", "sentence"), REFUSALS, ids=[case[0].__name__ for case in REFUSALS]
)
def test_a_refused_resume_leaves_the_run_as_it_was(
    spoil: Spoil,
    checkpoint: str,
    sentence: str,
    make_run: MakeRun,
    run_engine: RunEngine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = make_run(training={"max_steps": 6, "eval_every": 0})
    assert run_engine(folder) == 0
    spoil(folder, monkeypatch)
    for word in ENDS:
        ended(folder, word)
        before, events = contents(folder), folder.events()
        assert run_engine(folder, "--from", checkpoint) in (1, 2)
        assert contents(folder) == before
        assert folder.status() == word
        messages = folder.events()
        assert messages[: len(events)] == events
        assert messages[-1].kind == "error"
        assert messages[-1].message.startswith("resume refused: ")
        assert sentence in messages[-1].message
        assert not [event for event in messages[len(events) :] if event.kind == "resumed"]


def test_a_run_that_was_never_started_fails(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run()
    no_memory(folder, monkeypatch)
    assert run_engine(folder) == 1
    assert folder.status() == "failed"


def test_a_completed_run_is_not_resumed_without_a_checkpoint(
    make_run: MakeRun, run_engine: RunEngine
) -> None:
    folder = make_run(training={"max_steps": 3, "eval_every": 0})
    assert run_engine(folder) == 0
    before = contents(folder)
    assert run_engine(folder) == 2
    assert contents(folder) == before


def test_a_finished_run_whose_resume_is_cancelled_stays_finished(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(training={"max_steps": 6, "eval_every": 0})
    assert run_engine(folder) == 0
    before, original = contents(folder), dataset.load_dataset

    def load(*given: Any, **options: Any) -> Any:
        with atomic.appending(folder.control_file) as lines:
            lines.append(Command(id="enough", time=time.time(), command="cancel"))
        return original(*given, **options)

    monkeypatch.setattr(setup, "load_dataset", load)
    assert run_engine(folder, "--from", AT) == 130
    after = contents(folder)
    del after["control.jsonl"]
    assert after == before


def test_a_refused_second_engine_does_not_change_the_state(make_run: MakeRun) -> None:
    folder = make_run()
    run_folder.write_state(folder, RunState(state="cancelled", step=4, updated_at=1.0))
    before = contents(folder)
    with file_lock.locked(folder.lock_file), pytest.raises(UserError, match="by another process"):
        start_engine(folder)
    assert contents(folder) == before


@pytest.mark.slow
def test_the_command_line_reports_the_reason_and_the_state_is_restored(
    make_run: MakeRun, run_engine: RunEngine, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(training={"max_steps": 6, "eval_every": 0})
    assert run_engine(folder) == 0
    before = contents(folder)
    with train_file(folder).open("ab") as file:
        file.write(b'{"question": "one more?", "answer": "yes"}\n')
    capsys.readouterr()
    assert run_headless(folder, AT, as_json=False) == 2
    assert contents(folder) == before
    messages = capsys.readouterr().err
    assert "not resumed: the data has changed since the run started" in messages
    assert "Traceback" not in messages
