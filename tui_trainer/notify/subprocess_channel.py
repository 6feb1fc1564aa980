"""Channels that run a program: the user's command, and the desktop's notification program."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify import terminal_channel
from tui_trainer.text import formats

_DESKTOP_SECONDS = 5.0
_LONGEST = 2000  # characters of an environment variable, whose total size is limited
_STDERR_BYTES = 2000  # last bytes of a failed program's output that are read
_OSASCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


class CommandChannel:
    """The user's command, started without a shell. It gets the notice as JSON on standard input
    and its fields in `TUI_TRAINER_*` variables, and is killed after `seconds`."""

    name = "command"
    shared = "command"

    def __init__(self, command: str, seconds: float) -> None:
        self._command = [str(Path(word).expanduser()) if word.startswith("~") else word
                         for word in shlex.split(command)]  # fmt: skip
        self._seconds = seconds

    def send(self, notice: Notice) -> str | None:
        """Run the command; returns why it failed, in a sentence, or None."""
        data = msgspec.json.encode(notice)
        return run(self._command, self._seconds, data, {**os.environ, **variables(notice)})


class DesktopChannel:
    """The desktop's notifications, shown by the system's own program."""

    name = "desktop"
    shared = None

    def __init__(self, command: list[str]) -> None:
        """`command` is the program and its options, before title and text."""
        self._command = command

    def send(self, notice: Notice) -> str | None:
        """Run the program; returns why it failed, in a sentence, or None."""
        title, text = (
            formats.one_line(f"tui-trainer: {notice.title}", 100),
            formats.one_line(notice.text),
        )
        return run([*self._command, title, text], _DESKTOP_SECONDS, b"", None)


def find_desktop_channel(
    settings: NotifySettings, environment: Mapping[str, str]
) -> DesktopChannel | None:
    """The desktop's channel; None if there is no desktop, or the settings do not want it."""
    if settings.desktop == "off":
        return None
    if settings.desktop == "auto" and terminal_channel.shows_notifications(settings, environment):
        return None
    command = desktop_program(environment)
    return DesktopChannel(command) if command is not None else None


def desktop_program(environment: Mapping[str, str]) -> list[str] | None:
    """The program and its options, before title and text; None if there is no desktop."""
    if sys.platform == "darwin":
        program = shutil.which("osascript", path=environment.get("PATH"))
        lines = [word for line in _OSASCRIPT for word in ("-e", line)]
        return [program, *lines] if program else None
    names = ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS")
    program = shutil.which("notify-send", path=environment.get("PATH"))
    if program is None or not any(environment.get(name) for name in names):
        return None
    return [program, "--app-name=tui-trainer", "--"]


def variables(notice: Notice) -> dict[str, str]:
    """The notice's fields as environment variables, for a shell script."""
    facts = {
        "KIND": notice.kind, "TITLE": notice.title, "TEXT": notice.text, "RUN": notice.run,
        "NAME": notice.name, "RUN_DIR": notice.path, "STATUS": notice.status,
        "STEP": "" if notice.step is None else str(notice.step),
    }  # fmt: skip
    return {
        f"TUI_TRAINER_{name}": text.replace("\0", " ")[:_LONGEST] for name, text in facts.items()
    }


def run(
    command: list[str], seconds: float, data: bytes, environment: Mapping[str, str] | None
) -> str | None:
    """Run a program with `data` on its standard input, at most for `seconds`; returns why it
    failed, in a sentence, or None."""
    name = formats.one_line(Path(command[0]).name, 60)
    # Files, not pipes: a background process of the program would keep a pipe open, and writing
    # to a program that does not read would block.
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stderr:
        stdin.write(data)
        stdin.seek(0)
        try:
            process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=environment,
                start_new_session=True,  # so that Ctrl-C in the terminal does not reach it
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"{name} cannot be started: {reason}"
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill(process)
            return f"{name} took longer than {formats.milliseconds(seconds * 1000)} and was killed"
        return None if status == 0 else _failure(name, status, stderr)


def _failure(name: str, status: int, stderr: IO[bytes]) -> str:
    stderr.seek(0, os.SEEK_END)
    stderr.seek(max(0, stderr.tell() - _STDERR_BYTES))
    tail = formats.one_line(stderr.read().decode("utf-8", "replace"), 160)
    return f"{name} ended with exit status {status}" + (f": {tail}" if tail else "")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the program and the processes that it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
