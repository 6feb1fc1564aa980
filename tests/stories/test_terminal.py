"""A newcomer's first session in a real pseudo-terminal, with the real engine."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from tui_trainer.store.runs import process_identity, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

COLUMNS, ROWS = 100, 30


class Terminal:
    """A program in a pseudo-terminal, and what a person would see."""

    def __init__(self, *arguments: str, folder: Path) -> None:
        self.raw = b""  # all that was written, with what draws nothing
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tui_trainer", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"},
            start_new_session=True,
        )
        os.close(slave)

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def text(self) -> str:
        """The screen now."""
        while select.select([self._master], [], [], 0.05)[0]:
            try:
                data = os.read(self._master, 65_536)
            except OSError:  # the program has closed its side
                break
            if not data:
                break
            self.raw += data
            self._stream.feed(data)
        return "\n".join(self._screen.display)

    def wait(self, condition: Callable[[str], bool], seconds: float = 90.0) -> str:
        """The screen, as soon as it is as expected."""
        deadline = time.monotonic() + seconds
        while True:
            text = self.text()
            if condition(text):
                return text
            assert time.monotonic() < deadline, f"not seen in time; the screen was:\n{text}"

    def leave(self, seconds: float = 30.0) -> int:
        """Reads on until the program has ended; gives its exit status."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            self.text()
            assert time.monotonic() < deadline, "the program does not end"
        return self.process.returncode

    def hang_up(self) -> None:
        """Takes the terminal away, as a lost connection does."""
        os.close(self._master)
        self._master = -1

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._master >= 0:
            os.close(self._master)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def open_terminal(*arguments: str) -> Terminal:
        opened.append(Terminal(*arguments, folder=tmp_path))
        return opened[-1]

    yield open_terminal
    for one in opened:
        one.close()
    for folder in run_folder.list_runs(tmp_path / "runs"):
        state = folder.state()
        if state is not None and process_identity.process_alive(state.pid, state.pid_created):
            assert state.pid is not None
            os.kill(state.pid, signal.SIGKILL)


def only_run(tmp_path: Path) -> RunFolder:
    found = run_folder.list_runs(tmp_path / "runs")
    assert len(found) == 1
    return found[0]


@pytest.mark.slow
def test_the_first_session(tmp_path: Path, terminal: Callable[..., Terminal]) -> None:
    """Train, pause, go on, leave it running, come back, lose the terminal, stop from a shell."""
    first = terminal("train", "example", "--set", "training.max_steps=3000")
    first.wait(lambda text: "lighthouse · training" in text and "3,000" in text)
    first.press("p")
    text = first.wait(lambda text: "lighthouse · paused" in text)
    assert "Traceback" not in text
    step = only_run(tmp_path).state().step  # type: ignore[union-attr]
    first.press("p")
    first.wait(lambda text: "lighthouse · training" in text)
    first.press("q")
    first.wait(lambda text: "quit, keep it training" in text)
    first.press("q")
    assert first.leave() == 0

    second = terminal()
    second.wait(lambda text: "lighthouse · training" in text)
    assert only_run(tmp_path).state().step > step  # type: ignore[union-attr]
    second.press("2")
    second.wait(lambda text: "updated" in text and "lighthouse  " in text)
    second.hang_up()
    second.process.wait(timeout=30)
    going_on = ("training", "evaluating", "checkpointing")
    assert only_run(tmp_path).status() in going_on, "a lost terminal ends the screen alone"

    shown_notices = subprocess.run(
        [sys.executable, "-m", "tui_trainer", "control", "lighthouse", "stop"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown_notices.returncode == 0, shown_notices.stderr
    third = terminal("monitor", "runs")
    third.wait(lambda text: "lighthouse · " in text and "stopped at step" in text)
    third.press("q")
    assert third.leave() == 0
