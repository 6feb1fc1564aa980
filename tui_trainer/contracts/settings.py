"""`config.toml`: what a user may set once for every session."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.notice import NotifySettings
from tui_trainer.contracts.sampling import ChatSettings
from tui_trainer.contracts.teaching import TeachingSettings


class ChartSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How charts look at the start of a session."""

    smoothing: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | Literal["auto"],
        Meta(
            description='weight of the past in the smoothed line; 0 is off, "auto" follows the '
            "number of points"
        ),
    ] = "auto"
    log_y: Annotated[bool, Meta(description="start with a logarithmic y axis")] = False
    marks: Annotated[
        Literal["auto", "braille", "ascii"],
        Meta(description="characters that draw charts; auto asks the locale"),
    ] = "auto"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configuration file."""

    runs_dir: Annotated[str, Meta(min_length=1, description="folder of runs")] = "runs"
    model: Annotated[
        str,
        Meta(min_length=1, description='what the chat answers with: "builtin", a folder, a hub id'),
    ] = "builtin"
    theme: Annotated[str, Meta(min_length=1, description="name of a palette in themes/")] = (
        "harbour"
    )
    refresh_seconds: Annotated[
        float, Meta(gt=0, le=60, description="seconds between polls behind the file watcher")
    ] = 1.0
    charts: ChartSettings = msgspec.field(default_factory=ChartSettings)
    teaching: Annotated[
        TeachingSettings, Meta(description="how corrections are learned; /set in a chat writes it")
    ] = msgspec.field(default_factory=TeachingSettings)
    chat: Annotated[
        ChatSettings, Meta(description="how answers are generated; /set in a chat changes it")
    ] = msgspec.field(default_factory=ChatSettings)
    advisor: Annotated[
        AdvisorSettings, Meta(description="how runs are judged; [advisor] of a job wins")
    ] = msgspec.field(default_factory=AdvisorSettings)
    notify: Annotated[
        NotifySettings, Meta(description="who is told of crashes, hangs and ends, and how")
    ] = msgspec.field(default_factory=NotifySettings)
    keys: Annotated[
        dict[str, str],
        Meta(description='keys by binding id, such as pause = "space"'),
    ] = msgspec.field(default_factory=dict)
