"""The terminal's bell, and the escape sequences by which terminals show a notification."""

from __future__ import annotations

from collections.abc import Mapping

from tui_trainer.contracts.notice import Notice, NotifySettings
from tui_trainer.text import formats

BELL = "\x07"
_END = "\x07"
_DUMB = ("", "dumb", "linux", "unknown")
# Terminals by what they say of themselves, and the sequence they know: OSC 9 has one text,
# OSC 777 a title and a text. iTerm2, WezTerm, Ghostty and kitty document 9; foot, the VTE ones
# and rxvt 777.
_PROGRAMS = {"iTerm.app": "9", "WezTerm": "9", "ghostty": "9"}
_VARIABLES = {"KITTY_WINDOW_ID": "9", "ConEmuPID": "9", "VTE_VERSION": "777"}
_KINDS = {"xterm-kitty": "9", "xterm-ghostty": "9", "foot": "777", "rxvt": "777", "wezterm": "9"}


def known_sequence(environment: Mapping[str, str]) -> str | None:
    """ "9" or "777", where the terminal says which one it is; None where that is not known."""
    program = _PROGRAMS.get(environment.get("TERM_PROGRAM", ""))
    if program is not None:
        return program
    for name, number in _VARIABLES.items():
        if environment.get(name):
            return number
    kind = environment.get("TERM", "")
    return next((number for known, number in _KINDS.items() if kind.startswith(known)), None)


def shows_notifications(settings: NotifySettings, environment: Mapping[str, str]) -> bool:
    """Whether the terminal surely shows a notification by itself."""
    known = known_sequence(environment)
    if known is None or _inside(environment):
        return False
    return settings.osc in ("auto", "both", known)


def sequences(notice: Notice, settings: NotifySettings, environment: Mapping[str, str]) -> str:
    """What to write to the terminal; empty for nothing.

    A terminal that says nothing of itself gets both kinds: it ignores what it does not know.
    """
    bell = BELL if settings.bell else ""
    if settings.osc == "off" or environment.get("TERM", "") in _DUMB:
        return bell
    number = settings.osc if settings.osc != "auto" else known_sequence(environment) or "both"
    title, text = formats.one_line(notice.title, 80), formats.one_line(notice.text)
    found = []
    if number in ("9", "both"):
        # A text that begins with a digit and ";" would be a command to some terminals.
        found.append(f"\x1b]9;tui-trainer: {text}{_END}")
    if number in ("777", "both"):
        found.append(f"\x1b]777;notify;{title.replace(';', ',')};{text}{_END}")
    return bell + "".join(_through(one, environment) for one in found)


def _inside(environment: Mapping[str, str]) -> bool:
    kind = environment.get("TERM", "")
    return bool(environment.get("TMUX")) or kind.startswith(("tmux", "screen"))


def _through(sequence: str, environment: Mapping[str, str]) -> str:
    """Wrapped so that a terminal multiplexer hands it on to the terminal outside, which tmux
    does with `allow-passthrough on`."""
    if environment.get("TMUX") or environment.get("TERM", "").startswith("tmux"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if _inside(environment):
        return f"\x1bP{sequence}\x1b\\"
    return sequence
