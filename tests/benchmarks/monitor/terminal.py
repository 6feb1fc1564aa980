"""A program in a real pseudo-terminal: what it wrote and when, and what it cost.

A thread notes the time of every piece as it is read. What the screen showed is worked out from
these pieces, so that the emulator's own speed does not enter the figures.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import psutil
import pyte

COLUMNS, ROWS = 160, 45
# Answers to what programs ask of a terminal at their start: device, cursor, colours.
_ANSWERS = (
    (re.compile(rb"\x1b\[0?c"), b"\x1b[?62;22c"),
    (re.compile(rb"\x1b\[6n"), b"\x1b[1;1R"),
    (re.compile(rb"\x1b\]11;\?"), b"\x1b]11;rgb:1010/1010/1010\x1b\\"),
    (re.compile(rb"\x1b\]10;\?"), b"\x1b]10;rgb:e0e0/e0e0/e0e0\x1b\\"),
)
# What pyte takes for text: queries and settings with private markers, strings, one-shot modes.
_FOREIGN = re.compile(
    rb"\x1b\[[<=>][0-9;:]*[a-zA-Z]|\x1b\[\?[0-9;]*\$p|\x1b[P_^][^\x1b]*\x1b\\|\x1b\[[0-9;]* q"
)
Seen = Callable[[str], bool]


class Terminal:
    """Starts `command` in a pseudo-terminal of 160×45; times are seconds since its start."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        self.pieces: list[tuple[float, bytes]] = []
        self.begun = time.monotonic()
        self._process = subprocess.Popen(
            list(command),
            stdin=slave,
            stdout=slave,
            stderr=slave,
            cwd=folder,
            env={**ordinary(), "TERM": "xterm-256color", "COLORTERM": "truecolor", **environment},
            start_new_session=True,
        )
        os.close(slave)
        self._replay = Replay(self.pieces)
        threading.Thread(target=self._listen, daemon=True).start()

    def wait(self, seen: Seen, limit: float) -> float:
        """The time of the piece that first brought the screen to what is waited for, of the one
        played last where it is there already. Raises `TimeoutError` with the screen after
        `limit` seconds."""
        if seen(self._replay.text()):
            return self._replay.played_at
        while True:
            for at, text in self._replay.screens():
                if seen(text):
                    return at
            if time.monotonic() - self.begun > limit or self._process.poll() is not None:
                raise TimeoutError(f"not seen in {limit:g} s; the screen was:\n{self.text()}")
            time.sleep(0.02)

    def text(self) -> str:
        """The screen now."""
        for _ in self._replay.screens():
            pass
        return self._replay.text()

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self._master, keys.encode())

    def status(self, limit: float) -> int:
        """The exit status of the program, which ends within `limit` seconds."""
        return self._process.wait(limit)

    def cpu_seconds(self) -> float:
        """Processor time of the process and all below it so far."""
        total = 0.0
        for process in self._family():
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def cpu_share(self, seconds: float) -> float:
        """Share of one core (0..1) used over the coming `seconds`."""
        before, begun = self.cpu_seconds(), time.monotonic()
        time.sleep(seconds)
        return (self.cpu_seconds() - before) / (time.monotonic() - begun)

    def peak_bytes(self) -> int:
        """The greatest resident size of each process so far, added up."""
        total = 0
        for process in self._family():
            with contextlib.suppress(OSError):
                status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
                found = re.search(r"VmHWM:\s+(\d+) kB", status)
                total += 1024 * int(found[1]) if found else 0
        return total

    def close(self) -> None:
        """Ends the program and all that it started."""
        family = self._family()
        for process in family:
            with contextlib.suppress(psutil.Error):
                process.send_signal(signal.SIGTERM)
        _, left = psutil.wait_procs(family, timeout=5)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()
        self._process.wait()

    def _family(self) -> list[psutil.Process]:
        try:
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def _listen(self) -> None:
        with contextlib.suppress(OSError):  # the program has closed its side
            while data := os.read(self._master, 65_536):
                self.pieces.append((time.monotonic() - self.begun, data))
                for question, answer in _ANSWERS:
                    if question.search(data):
                        os.write(self._master, answer)
        os.close(self._master)


def ordinary() -> dict[str, str]:
    """The environment, but a Python in it keeps compiled modules, as an installed one has them."""
    return {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}


class Replay:
    """Plays noted pieces to an emulator; gives the screen after each."""

    def __init__(self, pieces: Sequence[tuple[float, bytes]]) -> None:
        self._pieces = pieces
        self._next = 0
        self.played_at = 0.0
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)

    def screens(self) -> Iterator[tuple[float, str]]:
        """Time and screen of every piece not played yet."""
        while self._next < len(self._pieces):
            at, data = self._pieces[self._next]
            self._next += 1
            self._stream.feed(_FOREIGN.sub(b"", data))
            self.played_at = at
            yield at, self.text()

    def text(self) -> str:
        """The screen as played so far."""
        return "\n".join(self._screen.display)
