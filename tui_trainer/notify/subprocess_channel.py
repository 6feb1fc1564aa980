"""Programs that are given notices: the user's own command, and the desktop's."""

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
_LONGEST = 2000  # characters of a variable: a system takes only so much of them
_SAID_BYTES = 2000  # of what a failing program printed last
_OSASCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


class CommandChannel:
    """The user's command. It is started without a shell, gets the notice as JSON on standard
    input and its facts in `TUI_TRAINER_*` variables, and is ended after its time."""

    name = "command"
    shared = "command"

    def __init__(self, command: str, seconds: float) -> None:
        self._words = [str(Path(word).expanduser()) if word.startswith("~") else word
                       for word in shlex.split(command)]  # fmt: skip
        self._seconds = seconds

    def send(self, notice: Notice) -> str | None:
        """Why it failed, in a sentence; None where it did what it should."""
        data = msgspec.json.encode(notice)
        return run(self._words, self._seconds, data, {**os.environ, **variables(notice)})


class DesktopChannel:
    """The desktop's notifications, by the program that this machine has for them."""

    name = "desktop"
    shared = None

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def send(self, notice: Notice) -> str | None:
        """Why it failed, in a sentence; None where it did what it should."""
        title, text = (
            formats.one_line(f"tui-trainer: {notice.title}", 100),
            formats.one_line(notice.text),
        )
        return run([*self._words, title, text], _DESKTOP_SECONDS, b"", None)


def find_desktop(settings: NotifySettings, environment: Mapping[str, str]) -> DesktopChannel | None:
    """The desktop's way, where there is one and it is wanted."""
    if settings.desktop == "off":
        return None
    if settings.desktop == "auto" and terminal_channel.shows_notifications(settings, environment):
        return None
    words = desktop_program(environment)
    return DesktopChannel(words) if words is not None else None


def desktop_program(environment: Mapping[str, str]) -> list[str] | None:
    """The program and its options, before title and text; None where there is no desktop."""
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
    """The notice's facts for a shell script."""
    facts = {
        "KIND": notice.kind, "TITLE": notice.title, "TEXT": notice.text, "RUN": notice.run,
        "NAME": notice.name, "RUN_DIR": notice.path, "STATUS": notice.status,
        "STEP": "" if notice.step is None else str(notice.step),
    }  # fmt: skip
    return {
        f"TUI_TRAINER_{name}": text.replace("\0", " ")[:_LONGEST] for name, text in facts.items()
    }


def run(
    words: list[str], seconds: float, data: bytes, environment: Mapping[str, str] | None
) -> str | None:
    """Runs a program with `data` on its standard input, for so many seconds at most; gives why
    it failed, in a sentence, or None."""
    name = formats.one_line(Path(words[0]).name, 60)
    # Files, not pipes: a program that leaves something running in the background would hold
    # a pipe open, and one that does not read could not be written to.
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said:
        given.write(data)
        given.seek(0)
        try:
            process = subprocess.Popen(
                words,
                stdin=given,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment,
                start_new_session=True,  # keys pressed in the terminal are not for it
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            return f"{name} cannot be started: {reason}"
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _end(process)
            return f"{name} took longer than {seconds:g} s and was ended"
        return None if status == 0 else _failure(name, status, said)


def _failure(name: str, status: int, said: IO[bytes]) -> str:
    said.seek(0, os.SEEK_END)
    said.seek(max(0, said.tell() - _SAID_BYTES))
    tail = formats.one_line(said.read().decode("utf-8", "replace"), 160)
    return f"{name} ended with exit status {status}" + (f": {tail}" if tail else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
