"""The terminal's bell, and the escape sequences that make terminals show a notification."""

from __future__ import annotations

from collections.abc import Mapping

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.text import formats

BELL = "\x07"
_END = "\x07"
_DUMB = ("", "dumb", "linux", "unknown")
# Terminals by the environment variables that they set, and the sequence that they support: OSC 9
# has one text, OSC 777 a title and a text. iTerm2, WezTerm, Ghostty and kitty document 9; foot,
# VTE terminals and rxvt 777.
_PROGRAMS = {"iTerm.app": "9", "WezTerm": "9", "ghostty": "9"}
_VARIABLES = {"KITTY_WINDOW_ID": "9", "ConEmuPID": "9", "VTE_VERSION": "777"}
_KINDS = {"xterm-kitty": "9", "xterm-ghostty": "9", "foot": "777", "rxvt": "777", "wezterm": "9"}


def known_sequence(environment: Mapping[str, str]) -> str | None:
    """The sequence that the terminal supports, "9" or "777"; None if the terminal is unknown."""
    program = _PROGRAMS.get(environment.get("TERM_PROGRAM", ""))
    if program is not None:
        return program
    for name, number in _VARIABLES.items():
        if environment.get(name):
            return number
    kind = environment.get("TERM", "")
    return next((number for known, number in _KINDS.items() if kind.startswith(known)), None)


def shows_notifications(settings: NotifySettings, environment: Mapping[str, str]) -> bool:
    """Whether the terminal is known to show a notification."""
    known = known_sequence(environment)
    if known is None or _inside(environment):
        return False
    return settings.osc in ("auto", "both", known)


def sequences(notice: Notice, settings: NotifySettings, environment: Mapping[str, str]) -> str:
    """The text to write to the terminal; may be empty.

    An unknown terminal gets both sequences, as terminals ignore sequences that they do not support.
    """
    bell = BELL if settings.bell else ""
    if settings.osc == "off" or environment.get("TERM", "") in _DUMB:
        return bell
    number = settings.osc if settings.osc != "auto" else known_sequence(environment) or "both"
    title, text = formats.one_line(notice.title, 80), formats.one_line(notice.text)
    found = []
    if number in ("9", "both"):
        # The prefix is needed: some terminals execute a text that begins with a digit and ";".
        found.append(f"\x1b]9;tui-trainer: {text}{_END}")
    if number in ("777", "both"):
        found.append(f"\x1b]777;notify;{title.replace(';', ',')};{text}{_END}")
    return bell + "".join(_through(one, environment) for one in found)


def _inside(environment: Mapping[str, str]) -> bool:
    kind = environment.get("TERM", "")
    return bool(environment.get("TMUX")) or kind.startswith(("tmux", "screen"))


def _through(sequence: str, environment: Mapping[str, str]) -> str:
    """The sequence, wrapped for a terminal multiplexer to pass it on to the outer terminal; tmux
    needs `allow-passthrough on` for that."""
    if environment.get("TMUX") or environment.get("TERM", "").startswith("tmux"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if _inside(environment):
        return f"\x1bP{sequence}\x1b\\"
    return sequence
