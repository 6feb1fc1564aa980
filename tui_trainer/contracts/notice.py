"""A notice of what happened to a run, and the section `[notify]` of the configuration."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from tui_trainer.contracts.advice import Advice

NoticeKind = Literal["critical", "crash", "failure", "hang", "finish", "test"]
Occasion = Literal["critical", "crash", "hang", "finish"]
OCCASIONS: tuple[Occasion, ...] = ("critical", "crash", "hang", "finish")


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened to a run. A webhook gets it as JSON, a command too.

    `key` is the same for everybody who sees it happen; `time` is seconds since the epoch,
    `title` a few words, `text` one sentence with the run's name. `failure` is a run that ended
    itself with an error, `crash` one whose process is gone. `also` holds further notices that
    came too soon after another to be sent by themselves.
    """

    schema: int = 1  # version of the record's format
    kind: NoticeKind  # what happened
    key: str  # the same for every process that sees it
    time: float  # seconds since the epoch
    title: str  # a few words
    text: str  # one sentence with the run's name
    run: str = ""  # id of the run
    name: str = ""  # of the run
    path: str = ""  # of the run folder or file
    host: str = ""  # where it was seen
    status: str = ""  # of the run
    step: int | None = None  # optimizer steps finished
    total_steps: int | None = None  # of the whole run
    loss: float | None = None  # newest training loss, nats
    best_val_loss: float | None = None  # least validation loss, nats
    advice: Advice | None = None  # that it is about
    also: list[Notice] = msgspec.field(default_factory=list)  # further notices sent with it


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which notices are sent, and by which channels."""

    on: Annotated[
        list[Occasion],
        Meta(description="critical advice, crash (a failed run too), hang, finish; [] for none"),
    ] = msgspec.field(default_factory=lambda: list(OCCASIONS))
    bell: Annotated[bool, Meta(description="ring the terminal's bell")] = True
    osc: Annotated[
        Literal["auto", "9", "777", "both", "off"],
        Meta(description="the terminal's own notification; auto asks which terminal it is"),
    ] = "auto"
    desktop: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="notify-send or macOS; auto: where the terminal has no notification"),
    ] = "auto"
    webhook: Annotated[
        str | None, Meta(description="address that gets the notice as JSON: http:// or https://")
    ] = None
    webhook_seconds: Annotated[
        float, Meta(gt=0, le=120, description="time limit of one try, in seconds")
    ] = 5.0
    webhook_retries: Annotated[
        int, Meta(ge=0, le=10, description="further tries, after 1, 2, 4 ... seconds")
    ] = 3
    command: Annotated[
        str | None, Meta(description="program with arguments; the notice is on its standard input")
    ] = None
    command_seconds: Annotated[
        float, Meta(gt=0, le=600, description="the command is ended after so many seconds")
    ] = 20.0
    min_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="seconds between two notices; what comes between is sent as one",
        ),
    ] = 30.0
    repeat_seconds: Annotated[
        float,
        Meta(ge=0, le=86_400, description="one run's same advice or hang is not sent again sooner"),
    ] = 600.0

    def __post_init__(self) -> None:
        if self.webhook is not None and not _is_address(self.webhook):
            # The address itself may be a secret.
            raise ValueError("webhook is no address such as https://example.org/hook")
        if self.command is not None:
            try:
                words = shlex.split(self.command)
            except ValueError as error:
                raise ValueError(f"command cannot be split into words: {error}") from None
            if not words:
                raise ValueError("command is empty; leave it out for none")


def _is_address(text: str) -> bool:
    """Whether it is an http(s) address with a host, in printable ASCII without blanks."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
