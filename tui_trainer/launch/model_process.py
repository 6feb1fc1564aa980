"""A process of the engine for one client: messages on its standard input, lines on its output."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.launch.engine_process import check_installed
from tui_trainer.store import child_process

CLOSE_SECONDS = 2.0  # after which a closed process is killed
KILLED = -9
_KEPT_LINES = 40  # of the process's standard error
_READ_SECONDS = 1.0  # for the rest of standard error, after the process has ended


@dataclass(frozen=True)
class Wording:
    """What the user is told about a process.

    name: what it is, such as "the process that predicts".
    memory: what to do where memory ran out.
    """

    name: str
    memory: str


class ModelProcess:
    """The process and its streams. Not thread-safe, but for `kill`."""

    def __init__(self, module: str, wording: Wording, *arguments: str) -> None:
        """Start the module in its own session, so that Ctrl-C in a terminal does not reach it.
        Raises `UserError`."""
        check_installed()
        self._wording = wording
        self._errors: deque[str] = deque(maxlen=_KEPT_LINES)
        pipe = subprocess.PIPE
        try:
            self._process = child_process.start(
                child_process.module_command(module, *arguments),
                stdin=pipe,
                stdout=pipe,
                stderr=pipe,
            )
        except OSError as error:
            raise UserError(f"{wording.name} cannot be started: {reason_of(error)}", 1) from None
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()

    def send(self, message: msgspec.Struct) -> None:
        """Write a message as a line. Where the process has ended, `end` says why."""
        assert self._process.stdin is not None  # noqa: S101
        try:
            data = msgspec.json.encode(message) + b"\n"
        except UnicodeEncodeError:
            raise UserError("the text contains bytes that are not valid UTF-8") from None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def close_input(self) -> None:
        """Say that no message follows."""
        assert self._process.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def lines(self) -> Iterator[bytes]:
        """Yield what the process writes, a line each, until it ends."""
        assert self._process.stdout is not None  # noqa: S101
        return iter(self._process.stdout.readline, b"")

    def end(self) -> tuple[int, str]:
        """Wait for the process's end; return its exit status, and what it printed last, if
        anything. Raises `UserError` where it was killed."""
        status = self._process.wait()
        if status == KILLED:
            raise UserError(
                f"{self._wording.name} was killed, most likely because memory ran out; "
                f"{self._wording.memory}",
                1,
            )
        self._reader.join(_READ_SECONDS)
        return status, self._errors[-1] if self._errors else ""

    def kill(self) -> None:
        """End the process at once; the one method that another thread may call."""
        self._process.kill()

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Close the process's input, and kill it where it still works after so many seconds."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        with self._process.stderr as stream:
            for line in stream:
                if line.strip():
                    self._errors.append(line.decode("utf-8", "replace").rstrip())
