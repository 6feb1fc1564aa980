"""Somebody is told: a hang, a crash and an end, on the screen and by the terminal."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from tests.stories.conftest import append_step, write_state
from tests.stories.test_advice import DIVERGENCE, advise
from tests.stories.test_terminal import Terminal, only_run
from tui_trainer.contracts.notice import NotifySettings
from tui_trainer.contracts.settings import Settings
from tui_trainer.store import paths
from tui_trainer.store.runs import process_identity, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.chat.controller import ChatController
from tui_trainer.watch.runs import hang_detector

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


def listen(app: TrainerApp, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The notifications that the terminal is sent from now on."""
    received: list[str] = []
    assert app._driver is not None
    write = app._driver.write

    def hear(data: str) -> None:
        if "\x1b]9;" in data:
            received.append(data)
        write(data)

    monkeypatch.setattr(app._driver, "write", hear)
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    return received


def status_of(app: TrainerApp, folder: RunFolder) -> str:
    return next(run.status for run in app.view.runs if run.path == folder.path)


async def test_a_hang_is_shown_while_it_lasts(
    make_run: MakeRun, session: Session, seen: Seen, shown_notices: Text, becomes: Becomes,
    text_of: Text, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = make_run("lighthouse")
    app = session()
    async with app.run_test(size=(140, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        received = listen(app, monkeypatch)
        monkeypatch.setattr(hang_detector, "LEAST_SECONDS", 0.3)
        for step in range(61, 73):
            append_step(folder, step, 1.0)
        write_state(folder, "training", 72, time.time())
        await seen(app, "lighthouse · hung?", "▲ critical  stalled since 72")
        await becomes(app, lambda: bool(received))
        assert "lighthouse may hang: No step has finished for 1 s since step 72" in shown_notices(
            app
        )
        assert received[0].startswith("\x07\x1b]9;tui-trainer: lighthouse may hang: No step has")
        await pilot.press("2")
        await seen(app, "hung?", "updated")
        await pilot.press("1")
        monkeypatch.setattr(hang_detector, "LEAST_SECONDS", 1e9)
        append_step(folder, 73, 1.0)
        write_state(folder, "training", 73, time.time())
        await seen(app, "lighthouse · training")
        await becomes(app, lambda: "stalled since 72" not in text_of(app))
        assert len(received) == 1


async def test_crashes_and_ends_of_every_run_are_notified_once(
    make_run: MakeRun, session: Session, becomes: Becomes, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    shown, beside = make_run("lighthouse"), make_run("harbour", age=100)
    make_run("old", "failed", age=500)
    messages = tmp_path / "said"
    quoted = shlex.quote(str(messages))
    script = shlex.quote(f"cat >> {quoted}; echo >> {quoted}")
    notify = NotifySettings(min_seconds=0, command=f"sh -c {script}")
    app = session(settings=Settings(notify=notify))
    async with app.run_test(size=(120, 40), notifications=True):
        await becomes(app, lambda: len(app.view.runs) == 3 and not app.view.loading)
        received = listen(app, monkeypatch)
        write_state(shown, "training", 61, time.time(), alive=False)
        await becomes(app, lambda: len(received) == 1)
        assert (
            "lighthouse crashed: the training process ended unexpectedly at step 61" in received[0]
        )
        write_state(beside, "completed", 61, time.time(), "completed 61 steps")
        await becomes(app, lambda: len(received) == 2)
        assert "tui-trainer: harbour completed 61 steps" in received[1]
        write_state(shown, "preparing", 61, time.time())
        await becomes(app, lambda: status_of(app, shown) == "preparing")
        write_state(shown, "cancelled", 61, time.time(), "stopped at step 61 and saved")
        await becomes(app, lambda: status_of(app, shown) == "cancelled")
        await becomes(app, lambda: messages.exists() and messages.read_text().count("}\n") == 2)
        assert len(received) == 2, "who stops a run knows it"
    assert [kind in messages.read_text() for kind in ('"crash"', '"finish"')] == [True, True]


async def test_critical_advice_on_another_run_is_notified(
    make_run: MakeRun, session: Session, becomes: Becomes, shown_notices: Text,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    make_run("lighthouse")
    beside = make_run("harbour", age=100)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True):
        await becomes(app, lambda: len(app.view.runs) == 2 and not app.view.loading)
        received = listen(app, monkeypatch)
        advise(beside, DIVERGENCE)
        await becomes(app, lambda: bool(received))
        sentence = "harbour: divergence at step 52. The loss rose from 1.3 to 2.9."
        assert sentence in received[0]
        assert sentence in shown_notices(app)


async def test_another_tools_run_is_notified_by_the_advice_computed_here(
    runs_dir: Path, session: Session, becomes: Becomes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui_trainer.watch.runs.background_advice.REST_SECONDS", 0.1)
    file = runs_dir / "other.jsonl"

    def write(first: int, last: int, risen: float) -> None:
        with file.open("a") as lines:
            for step in range(first, last):
                wobble = 0.02 * math.sin(step * 12.9898) + 0.01 * math.sin(step * 78.233)
                loss = 1 + 2 * math.exp(-step / 60) + wobble + risen
                lines.write(json.dumps({"step": step, "train_loss": loss, "lr": 1e-3}) + "\n")

    write(1, 201, 0.0)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True):
        await becomes(app, lambda: app.notifier.has_checked_advice(file))
        received = listen(app, monkeypatch)
        write(201, 301, 1.5)
        await becomes(app, lambda: bool(received))
        assert "tui-trainer: other: divergence at step 20" in received[0]


async def test_a_failing_webhook_is_reported_once(
    make_run: MakeRun, session: Session, becomes: Becomes, shown_notices: Text
) -> None:
    folders = [make_run("lighthouse"), make_run("harbour")]
    address = "http://127.0.0.1:1/s3cret"
    notify = NotifySettings(min_seconds=0, webhook=address, webhook_retries=0)
    app = session(settings=Settings(notify=notify))
    async with app.run_test(size=(120, 40), notifications=True):
        await becomes(app, lambda: len(app.view.runs) == 2 and not app.view.loading)
        for folder in folders:
            write_state(folder, "failed", 61, time.time(), "no more numbers")
        await becomes(
            app, lambda: "notify: webhook: http://127.0.0.1:1/… cannot" in shown_notices(app)
        )
        assert "s3cret" not in shown_notices(app)


async def test_ends_of_the_chats_own_trainings_are_reported_by_the_chat(
    make_run: MakeRun, session: Session, becomes: Becomes, shown_notices: Text,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    is_own = lambda _, run: run.name.startswith("lesson")  # noqa: E731
    monkeypatch.setattr(ChatController, "is_own_training", is_own)
    chat_training, other = make_run("lesson"), make_run("harbour")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True):
        await becomes(app, lambda: len(app.view.runs) == 2 and not app.view.loading)
        received = listen(app, monkeypatch)
        write_state(chat_training, "failed", 61, time.time(), "no more numbers")
        await becomes(app, lambda: status_of(app, chat_training) == "failed")
        write_state(other, "failed", 61, time.time(), "no more numbers")
        await becomes(app, lambda: bool(received))
        assert "harbour failed" in received[0]
        assert "lesson" not in "".join(received) + shown_notices(app)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A place in which the real engine trains, and is ended with the story."""
    begun = subprocess.Popen(
        [sys.executable, "-m", "tui_trainer", "train", "example", "--headless",
         "--set", "training.max_steps=100000", "--set", "training.eval_every=0",
         "--set", "training.checkpoint_every=0"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    yield tmp_path
    for pid in (begun.pid, *engine_pids(tmp_path)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    begun.wait()


def engine_pids(folder: Path) -> list[int]:
    states = [run.state() for run in run_folder.list_runs(folder / "runs")]
    alive = [
        s for s in states if s is not None and process_identity.process_alive(s.pid, s.pid_created)
    ]
    return [s.pid for s in alive if s.pid is not None]


@pytest.mark.slow
def test_a_stopped_and_a_killed_engine_in_a_real_terminal(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TMUX", "KITTY_WINDOW_ID", "VTE_VERSION", "TERM_PROGRAM"):
        monkeypatch.delenv(name, raising=False)
    file = paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("[notify]\nmin_seconds = 0\n")
    (folder / "runs").mkdir(exist_ok=True)
    terminal = Terminal("monitor", "runs", folder=folder)
    try:
        terminal.wait(lambda text: "lighthouse · training" in text)
        run = only_run(folder)
        begun = time.monotonic()
        while len(run.metrics_file.read_bytes().splitlines()) < 30:
            assert time.monotonic() < begun + 120
            terminal.text()
        (pid,) = engine_pids(folder)
        os.kill(pid, signal.SIGSTOP)
        terminal.wait(lambda text: "lighthouse · hung?" in text and "stalled since" in text)
        terminal.wait(lambda _: b"\x1b]9;tui-trainer: lighthouse may hang: No step" in terminal.raw)
        assert b"\x1b]777;notify;lighthouse may hang;" in terminal.raw, "it may know either"
        os.kill(pid, signal.SIGCONT)
        terminal.wait(lambda text: "lighthouse · training" in text)
        os.kill(pid, signal.SIGKILL)
        terminal.wait(lambda text: "lighthouse · crashed" in text)
        terminal.wait(lambda _: b"\x07\x1b]9;tui-trainer: lighthouse crashed: " in terminal.raw)
        terminal.press("q")
        assert terminal.leave() == 0
    finally:
        terminal.close()
