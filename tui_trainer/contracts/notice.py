"""Notifications about runs, and the section `[notify]` of the configuration."""

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
    """One event of a run that the user is notified of; webhooks and commands get it as JSON.

    A "failure" is a run that ended itself with an error, a "crash" one whose process is gone.
    """

    schema: int = 1  # version of the record's format
    kind: NoticeKind  # what happened
    key: str  # of the event; the same for every process that watches the run
    time: float  # seconds since the epoch
    title: str  # a few words
    text: str  # one sentence with the run's name
    run: str = ""  # id of the run
    name: str = ""  # of the run
    path: str = ""  # of the run folder or file
    host: str = ""  # that sent the notice
    status: str = ""  # of the run
    step: int | None = None  # optimizer steps finished
    total_steps: int | None = None  # of the whole run
    loss: float | None = None  # newest training loss, nats
    best_val_loss: float | None = None  # lowest validation loss, nats
    advice: Advice | None = None  # that the notice is about
    also: list[Notice] = msgspec.field(default_factory=list)  # less urgent notices sent with it


class NotifySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[notify]` section: which events notify, and through which channels."""

    on: Annotated[
        list[Occasion],
        Meta(description="events: critical (advice), crash (or failure), hang, finish; [] is off"),
    ] = msgspec.field(default_factory=lambda: list(OCCASIONS))
    bell: Annotated[bool, Meta(description="ring the terminal's bell")] = True
    osc: Annotated[
        Literal["auto", "9", "777", "both", "off"],
        Meta(description="escape sequence for the terminal's notification; auto: by the terminal"),
    ] = "auto"
    desktop: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="desktop notification; auto: if the terminal cannot show one"),
    ] = "auto"
    webhook: Annotated[
        str | None, Meta(description="http(s) address that notifications are posted to as JSON")
    ] = None
    webhook_seconds: Annotated[
        float, Meta(gt=0, le=120, description="seconds until an attempt times out")
    ] = 5.0
    webhook_retries: Annotated[
        int, Meta(ge=0, le=10, description="further attempts, after 1, 2, 4, ... seconds")
    ] = 3
    command: Annotated[
        str | None, Meta(description="program with arguments, gets the notice as JSON on stdin")
    ] = None
    command_seconds: Annotated[
        float, Meta(gt=0, le=600, description="seconds after which the command is killed")
    ] = 20.0
    min_seconds: Annotated[
        float,
        Meta(
            ge=0,
            le=86_400,
            description="least seconds between two notifications; others are combined",
        ),
    ] = 30.0
    repeat_seconds: Annotated[
        float,
        Meta(ge=0, le=86_400, description="seconds until a run's same advice or hang is repeated"),
    ] = 600.0

    def __post_init__(self) -> None:
        if self.webhook is not None and not _is_address(self.webhook):
            # The address itself may be a secret.
            raise ValueError("webhook is not an address such as https://example.org/hook")
        if self.command is not None:
            try:
                words = shlex.split(self.command)
            except ValueError as error:
                raise ValueError(f"command cannot be split into words: {error}") from None
            if not words:
                raise ValueError("command is empty; to use no command, delete the key")


def _is_address(text: str) -> bool:
    """Whether `text` is an http(s) address with a host, in printable ASCII without spaces."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return False
    plain = text.isascii() and text.isprintable() and " " not in text
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
