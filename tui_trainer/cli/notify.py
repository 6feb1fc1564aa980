"""`notify`: sends a test notification through every channel."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import click
import msgspec

from tui_trainer.cli.common import options, output
from tui_trainer.text import formats

if TYPE_CHECKING:  # loaded when a command needs it
    from tui_trainer.contracts.notice import NotifySettings

_CHANNELS = ("terminal", "desktop", "webhook", "command")


class ChannelTest(msgspec.Struct, frozen=True, kw_only=True):
    """The result of one channel; `worked` is None where the channel is not used. `message` says
    what was sent, or why it was not."""

    channel: str = msgspec.field(name="way")
    worked: bool | None
    message: str = msgspec.field(name="words")
    seconds: float | None = None


@click.group()
def notify() -> None:
    """Send notifications: terminal, desktop, webhook, command.

    \b
    Example:
      tui-trainer notify test
    """


@notify.command()
@options.json_option("Print one JSON document.")
@options.debug_option
def test(as_json: bool) -> int:
    """Send a test notification through every channel.

    Channels are set in [notify] of the configuration. Prints whether each worked; the exit
    status is 1 where one failed.

    \b
    Examples:
      tui-trainer notify test
      tui-trainer notify test --json
    """
    from tui_trainer.store.settings import load_settings

    settings = load_settings().notify
    results = _test_all(settings)
    if as_json:
        output.document({"on": settings.on, "ways": results})
    else:
        labels = {True: "sent", False: "FAILED", None: "not used"}
        output.data(
            output.pairs([(t.channel, f"{labels[t.worked]}: {t.message}") for t in results])
        )
        occasions = ", ".join(settings.on) or "nothing, as notify.on is empty"
        output.data(f"notifications are sent for: {occasions}")
    return 1 if any(result.worked is False for result in results) else 0


def _test_all(settings: NotifySettings) -> list[ChannelTest]:
    from tui_trainer.cli.common.notifications import terminal_writer
    from tui_trainer.notify.notice_rules import make_test_notice
    from tui_trainer.notify.sender import open_channels

    notice = make_test_notice(time.time())
    found = {}
    for channel in open_channels(settings, os.environ, terminal_writer()):
        started = time.monotonic()
        problem = channel.send(notice)
        seconds = time.monotonic() - started
        found[channel.name] = ChannelTest(
            channel=channel.name,
            worked=problem is None,
            message=problem or _success(channel.name, settings, seconds),
            seconds=round(seconds, 3),
        )
    return [found.get(name) or _unused(name, settings) for name in _CHANNELS]


def _success(channel: str, settings: NotifySettings, seconds: float) -> str:
    """What was sent, so that the user can check whether it arrived."""
    from tui_trainer.notify.terminal_channel import known_sequence
    from tui_trainer.notify.webhook_channel import shown_address

    took = formats.milliseconds(1000 * seconds)
    if channel == "terminal":
        number = known_sequence(os.environ) if settings.osc == "auto" else settings.osc
        kinds = {"9": "OSC 9", "777": "OSC 777", "off": ""}.get(number or "", "OSC 9 and OSC 777")
        sent = [*(["the bell"] if settings.bell else []), *([kinds] if kinds else [])]
        return f"{' and '.join(sent)}; check whether the terminal shows it"
    if channel == "webhook" and settings.webhook is not None:
        return f"{shown_address(settings.webhook)} accepted it after {took}"
    return f"finished after {took}"


def _unused(channel: str, settings: NotifySettings) -> ChannelTest:
    from tui_trainer.notify.terminal_channel import shows_notifications
    from tui_trainer.store import paths

    file = formats.escape(str(paths.config_file()))
    if channel == "terminal":
        off = not settings.bell and settings.osc == "off"
        message = "bell and osc are off" if off else "standard error is not a terminal"
    elif channel == "desktop":
        if settings.desktop == "off":
            message = "desktop is off"
        elif shows_notifications(settings, os.environ) and settings.desktop == "auto":
            message = (
                'the terminal shows notifications itself; desktop = "on" adds those of the desktop'
            )
        else:
            message = "neither notify-send with a desktop session nor macOS is available"
    else:
        message = f"{channel} is not set in [notify] of {file}"
    return ChannelTest(channel=channel, worked=None, message=message)
