"""Programs that are told: the user's own command, and the desktop's."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.notify import terminal
from tui_trainer.notify.text import plain

_DESKTOP_SECONDS = 5.0
_SAID_BYTES = 2000  # of what a failing program printed last
_OSASCRIPT = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


class Command:
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


class Desktop:
    """The desktop's notifications, by the program that this machine has for them."""

    name = "desktop"
    shared = None

    def __init__(self, words: list[str]) -> None:
        self._words = words

    def send(self, notice: Notice) -> str | None:
        """Why it failed, in a sentence; None where it did what it should."""
        title, text = plain(f"tui-trainer: {notice.title}", 100), plain(notice.text)
        return run([*self._words, title, text], _DESKTOP_SECONDS, b"", None)


def find_desktop(settings: NotifySettings, environment: Mapping[str, str]) -> Desktop | None:
    """The desktop's way, where there is one and it is wanted."""
    if settings.desktop == "off":
        return None
    if settings.desktop == "auto" and terminal.shows_notifications(settings, environment):
        return None
    words = desktop_program(environment)
    return Desktop(words) if words is not None else None


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
    return {f"TUI_TRAINER_{name}": text.replace("\0", " ") for name, text in facts.items()}


def run(
    words: list[str], seconds: float, data: bytes, environment: Mapping[str, str] | None
) -> str | None:
    """Runs a program with `data` on its standard input, for so many seconds at most; gives why
    it failed, in a sentence, or None."""
    name = plain(Path(words[0]).name, 60)
    try:
        process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # keys pressed in the terminal are not for it
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return f"{name} cannot be started: {reason}"
    try:
        _, said = process.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        _end(process)
        return f"{name} took longer than {seconds:g} s and was ended"
    if process.returncode == 0:
        return None
    tail = plain(said[-_SAID_BYTES:].decode("utf-8", "replace"), 160)
    return f"{name} ended with exit status {process.returncode}" + (f": {tail}" if tail else "")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends the program and what it started."""
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=1.0)
    for pipe in (process.stdin, process.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()
