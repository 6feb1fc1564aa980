"""A full disk during training: one sentence at the end, and no finished result is lost."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerBase

from tests.engine.checkpoints.test_resume import assert_same
from tui_trainer.engine import save_adapter
from tui_trainer.engine.checkpoints.best import Result
from tui_trainer.engine.state.session import Session
from tui_trainer.hardware import sampler
from tui_trainer.models import lora_train
from tui_trainer.store import waiting_lines
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
TRAINING = {"max_steps": 12, "eval_every": 0, "checkpoint_every": 3, "keep_checkpoints": 9}


def full() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def saved(folder: RunFolder) -> list[int]:
    return [step for step, _ in checkpoints.list_checkpoints(folder)]


def warnings(folder: RunFolder) -> list[str]:
    return [event.message for event in folder.events() if event.kind == "warning"]


@pytest.fixture
def no_rows(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    """Make writing metrics fail from one step to another."""

    def between(first: int, last: int) -> None:
        monkeypatch.setattr(waiting_lines, "RETRY_SECONDS", 0.0)
        write, original = os.write, Session.collate
        is_full = False

        def collate(session: Session, examples: Any) -> Any:
            nonlocal is_full
            is_full = first <= session.state.step < last
            return original(session, examples)

        def guarded(descriptor: int, data: Any) -> int:
            if is_full and b'"kind":"train"' in bytes(data):
                raise full()
            return write(descriptor, data)

        monkeypatch.setattr(Session, "collate", collate)
        monkeypatch.setattr(os, "write", guarded)

    return between


def test_rows_that_cannot_be_written_are_written_later(
    make_run: MakeRun, run_engine: RunEngine, no_rows: Callable[[int, int], None], metrics: Metrics
) -> None:
    whole, folder = make_run(training=TRAINING), make_run(training=TRAINING)
    assert run_engine(whole) == 0
    no_rows(3, 9)
    assert run_engine(folder) == 0
    assert_same(whole, folder, metrics)
    messages = warnings(folder)
    assert "the disk is full: metrics wait in memory until there is room" in messages
    assert "the disk has room again: the waiting metrics are written" in messages


def test_rows_that_are_never_written_are_counted(
    make_run: MakeRun, run_engine: RunEngine, no_rows: Callable[[int, int], None]
) -> None:
    no_rows(3, 99)
    folder = make_run(training=TRAINING)
    assert run_engine(folder) == 0
    assert folder.status() == "completed"
    [messages] = [text for text in warnings(folder) if "could not be written" in text]
    assert "metric rows could not be written: the disk is full" in messages
    assert int(messages.split()[0]) + len(folder.metrics_file.read_bytes().splitlines()) == 13


def test_the_result_is_saved_before_anything_else(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the last step is one after which the run evaluates and saves."""
    order: list[str] = []

    def noted(name: str) -> Callable[..., None]:
        original = getattr(save_adapter, name)

        def call(session: Session, result: Result) -> None:
            order.append(name)
            original(session, result)

        return call

    for name in ("export_adapter", "write_card"):
        monkeypatch.setattr(save_adapter, name, noted(name))
    training = {**TRAINING, "eval_every": 4}
    folder = make_run(training=training)
    assert run_engine(folder) == 0
    assert order == ["export_adapter", "write_card"]
    last = [e.kind for e in folder.events() if e.step == 12]
    assert last.index("evaluation") < last.index("checkpoint")
    stat = (folder.adapter_dir / "adapter_model.safetensors").stat()
    manifest = folder.checkpoints_dir / "step-00000012" / checkpoints.MANIFEST
    assert stat.st_mtime_ns < manifest.stat().st_mtime_ns


def test_older_checkpoints_make_room_for_the_result(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_run(training={**TRAINING, "eval_every": 4})
    save = lora_train.save_adapter

    def limited(model: Any, target: Path, base: str, checkpoint: Path | None) -> None:
        save(model, target, base, checkpoint)
        if len(saved(folder)) > 2:  # the newest and the best
            raise full()

    monkeypatch.setattr(lora_train, "save_adapter", limited)
    free = 1 << 20  # as much as the checkpoints leave
    monkeypatch.setattr(sampler, "disk_free", lambda _: free if len(saved(folder)) > 3 else 1 << 40)
    assert run_engine(folder) == 0
    assert folder.status() == "completed"
    assert (folder.adapter_dir / "README.md").is_file()
    removed = [name for e in folder.events() for name in e.detail.get("removed", [])]
    assert removed
    assert saved(folder)[-1] == 12
    assert checkpoints.find_checkpoint(folder, "best") is not None


def test_superseded_checkpoints_are_deleted_first(make_run: MakeRun, run_engine: RunEngine) -> None:
    folder = make_run(training=TRAINING)
    assert run_engine(folder) == 0
    checkpoints.supersede_after(folder, 9)
    checkpoints.point_best(folder, "step-00000003")
    names = [path.name for path in checkpoints.expendable(folder)]
    assert names == ["step-00000012", "step-00000006"]
    assert [path.name for path in checkpoints.expendable(folder, {6})] == ["step-00000012"]
    # Of damaged ones none counts as the newest.
    (folder.checkpoints_dir / "step-00000009" / "optimizer.safetensors").write_bytes(b"")
    assert [path.name for path in checkpoints.expendable(folder)] == ["step-00000012"]


def test_an_adapter_without_room_fails_the_run_and_a_resume_saves_it(
    make_run: MakeRun,
    run_engine: RunEngine,
    monkeypatch: pytest.MonkeyPatch,
    metrics: Metrics,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, folder = make_run(training=TRAINING), make_run(training=TRAINING)
    assert run_engine(whole) == 0
    with monkeypatch.context() as patched:

        def refuse(*_: Any, **__: Any) -> None:
            raise full()

        patched.setattr(lora_train, "save_adapter", refuse)
        capsys.readouterr()
        assert run_engine(folder) == 1
    state = folder.state()
    assert state is not None and state.state == "failed"
    assert state.message.startswith("the disk is full: the adapter needs ")
    assert "; step-00000009 is kept; free " in state.message
    assert state.message.endswith(f"then tui-trainer resume {folder.path.name}")
    assert "Traceback" not in capsys.readouterr().err
    assert not list(folder.path.glob(".*"))
    assert saved(folder) == [9], "all that could go has made room"
    assert run_engine(folder) == 0
    assert_same(whole, folder, metrics)


def test_a_stopped_run_is_saved_even_without_room_for_its_adapter(
    make_run: MakeRun, run_engine: RunEngine, at_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise full()

    monkeypatch.setattr(lora_train, "save_adapter", refuse)
    folder = make_run(training=TRAINING)
    at_step(5, "stop")
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None and state.state == "cancelled"
    assert "stopped at step 5 and saved" in state.message
    assert "the disk is full: the adapter needs" in state.message
    assert saved(folder)[-1] == 5


def test_without_room_for_its_tokenizer_the_adapter_is_saved(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Any, folder: str, **__: Any) -> None:
        (Path(folder) / "tokenizer.json").write_text("{")
        raise Exception("No space left on device (os error 28)")

    monkeypatch.setattr(PreTrainedTokenizerBase, "save_pretrained", refuse)
    folder = make_run(training={**TRAINING, "max_steps": 3})
    assert run_engine(folder) == 0
    assert {file.name for file in folder.adapter_dir.iterdir()} == {
        "adapter_model.safetensors",
        "adapter_config.json",
        "README.md",
    }
    assert "the disk is full: the adapter is saved, but without its tokenizer" in warnings(folder)


@pytest.mark.slow
def test_a_failing_print_does_not_end_the_run(make_run: MakeRun) -> None:
    folder = make_run(training={**TRAINING, "max_steps": 4})
    with Path("/dev/full").open("wb") as nowhere:
        done = subprocess.run(
            [sys.executable, "-m", "tui_trainer.engine", str(folder.path)],
            stdout=nowhere,
            stderr=nowhere,
            check=False,
        )
    assert done.returncode == 0
    assert folder.status() == "completed"


# -- a real one ------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory."""
    mount = tmp_path / "disk"
    mount.mkdir()
    if shutil.which("mount") is None or os.geteuid() != 0:
        pytest.skip("only root may mount")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(mount)],
        check=False,
        capture_output=True,
    )
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.decode()}")
    yield mount
    ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(mount), 2)


def fill(mount: Path, left: int = 0) -> None:
    with (mount / "filler").open("ab", buffering=0) as file, contextlib.suppress(OSError):
        while (free := shutil.disk_usage(mount).free) > left:
            file.write(b"x" * min(1 << 16, free - left))


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True])
def test_a_real_disk_that_becomes_full(
    kill: bool,
    make_run: MakeRun,
    run_engine: RunEngine,
    start_engine: Callable[..., subprocess.Popen[bytes]],
    small_disk: Path,
    metrics: Metrics,
    wait_for: Callable[..., None],
) -> None:
    training = {**TRAINING, "max_steps": 400, "checkpoint_every": 50, "keep_checkpoints": 1}
    whole, folder = make_run(training=training), make_run(training=training)
    assert run_engine(whole) == 0
    shutil.move(folder.path, small_disk / "run")
    folder = RunFolder(small_disk / "run")
    engine = start_engine(folder)
    wait_for(lambda: bool(saved(folder)))
    deadline = time.monotonic() + 120
    at = None
    while engine.poll() is None and time.monotonic() < deadline:
        fill(small_disk)
        state = folder.state()
        at = at or (state.step if state is not None else 0)
        if kill and state is not None and state.step > at:
            engine.kill()
        time.sleep(0.02)
    state = folder.state()
    assert state is not None
    assert saved(folder)
    (small_disk / "filler").unlink()
    if kill:
        assert folder.status() == "crashed"
    elif folder.status() == "completed":  # the space in reserve was enough for the small result
        assert engine.returncode == 0
        weights = Path("adapter") / "adapter_model.safetensors"
        assert (folder.path / weights).read_bytes() == (whole.path / weights).read_bytes()
        lost = sum(event.detail.get("lost_rows", 0) for event in folder.events())
        assert lost + len(metrics(folder)) == len(metrics(whole))
        return
    else:
        assert (folder.status(), engine.returncode) == ("failed", 1)
        assert state.message.startswith("the disk is full: the adapter needs ")
    assert run_engine(folder) == 0
    assert folder.status() == "completed"
    assert_same(whole, folder, metrics)
