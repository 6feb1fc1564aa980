"""`notify`: trying the ways by which somebody is told of a run."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click
import msgspec

from tui_trainer.cli import common, output
from tui_trainer.text import formats

if TYPE_CHECKING:  # loaded when it is asked for
    from tui_trainer.contracts.notice import NotifySettings

_WAYS = ("terminal", "desktop", "webhook", "command")


class ChannelTest(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the test notice by one way; `worked` is None where it is not set."""

    way: str
    worked: bool | None
    words: str
    seconds: float | None = None


@click.group()
def notify() -> None:
    """Telling somebody: bell, terminal, desktop, webhook, command.

    \b
    Example:
      tui-trainer notify test
    """


@notify.command()
@common.json_option("Print one JSON document.")
@common.debug_option
def test(as_json: bool) -> int:
    """Send one test notice by every way that is set, and say of each whether it worked.

    What is set stands in [notify] of the configuration. Fails where a way does.

    \b
    Examples:
      tui-trainer notify test
      tui-trainer notify test --json
    """
    from tui_trainer.store.settings import load_settings

    settings = load_settings().notify
    trials = _try_all(settings)
    if as_json:
        output.document({"on": settings.on, "ways": trials})
    else:
        words = {True: "sent", False: "FAILED", None: "none"}
        output.data(output.pairs([(t.way, f"{words[t.worked]}: {t.words}") for t in trials]))
        output.data(f"told of: {', '.join(settings.on) or 'nothing, as notify.on is empty'}")
    return 1 if any(trial.worked is False for trial in trials) else 0


def _try_all(settings: NotifySettings) -> list[ChannelTest]:
    from tui_trainer.cli.notifications import terminal_writer
    from tui_trainer.notify.notice_rules import trial
    from tui_trainer.notify.sender import ways_of

    notice = trial(time.time())
    found = {}
    for way in ways_of(settings, os.environ, terminal_writer()):
        began = time.monotonic()
        problem = way.send(notice)
        took = time.monotonic() - began
        words = problem or _words(way.name, settings, took)
        found[way.name] = ChannelTest(
            way=way.name, worked=problem is None, words=words, seconds=round(took, 3)
        )
    return [found.get(name) or _absent(name, settings) for name in _WAYS]


def _words(way: str, settings: NotifySettings, took: float) -> str:
    """What was done, for somebody who looks whether it arrived."""
    from tui_trainer.notify.terminal_channel import known_sequence
    from tui_trainer.notify.webhook_channel import shown_address

    if way == "terminal":
        number = known_sequence(os.environ) if settings.osc == "auto" else settings.osc
        kinds = {"9": "OSC 9", "777": "OSC 777", "off": ""}.get(number or "", "OSC 9 and OSC 777")
        said = [*(["the bell"] if settings.bell else []), *([kinds] if kinds else [])]
        return f"{' and '.join(said)}; whether it shows, only you can see"
    if way == "webhook" and settings.webhook is not None:
        return f"{shown_address(settings.webhook)} took it in {took:.1f} s"
    return f"done in {took:.1f} s"


def _absent(way: str, settings: NotifySettings) -> ChannelTest:
    from tui_trainer.notify.terminal_channel import shows_notifications
    from tui_trainer.store import paths

    file = formats.escape(str(paths.config_file()))
    if way == "terminal":
        off = not settings.bell and settings.osc == "off"
        words = "bell and osc are off" if off else "standard error is no terminal"
    elif way == "desktop":
        if settings.desktop == "off":
            words = "desktop is off"
        elif shows_notifications(settings, os.environ) and settings.desktop == "auto":
            words = 'the terminal shows notifications itself; desktop = "on" adds the desktop\'s'
        else:
            words = "no notify-send with a desktop here, and no macOS"
    else:
        words = f"{way} is not set in [notify] of {file}"
    return ChannelTest(way=way, worked=None, words=words)
