"""`config.toml`: the user's settings for every session."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.chat.sampling import ChatSettings
from tui_trainer.contracts.notice import NotifySettings
from tui_trainer.contracts.teaching.training import TeachingSettings


class ChartSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The `[charts]` section: how charts look when a session starts."""

    smoothing: Annotated[
        Annotated[float, Meta(ge=0, lt=1)] | Literal["auto"],
        Meta(
            description="weight of earlier points in the smoothed line; 0: off; "
            '"auto": by the number of points'
        ),
    ] = "auto"
    log_y: Annotated[bool, Meta(description="start with a logarithmic y axis")] = False
    marks: Annotated[
        Literal["auto", "braille", "ascii"],
        Meta(description="characters that draw charts; auto: by the locale"),
    ] = "auto"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The content of `config.toml`."""

    runs_dir: Annotated[str, Meta(min_length=1, description="folder of runs")] = "runs"
    model: Annotated[
        str,
        Meta(
            min_length=1,
            description='base model of the chat: "builtin", a local folder, or a Hugging Face id',
        ),
    ] = "builtin"
    theme: Annotated[str, Meta(min_length=1, description="name of a palette in themes/")] = (
        "harbour"
    )
    refresh_seconds: Annotated[
        float,
        Meta(gt=0, le=60, description="seconds between polls, for changes the file watcher misses"),
    ] = 1.0
    charts: ChartSettings = msgspec.field(default_factory=ChartSettings)
    teaching: Annotated[
        TeachingSettings, Meta(description="how corrections are trained; /set in a chat changes it")
    ] = msgspec.field(default_factory=TeachingSettings)
    chat: Annotated[
        ChatSettings, Meta(description="how answers are generated; /set in a chat changes it")
    ] = msgspec.field(default_factory=ChatSettings)
    advisor: Annotated[
        AdvisorSettings, Meta(description="advisor of runs; the [advisor] of a job overrides it")
    ] = msgspec.field(default_factory=AdvisorSettings)
    notify: Annotated[
        NotifySettings, Meta(description="notifications of crashes, hangs and finished runs")
    ] = msgspec.field(default_factory=NotifySettings)
    keys: Annotated[
        dict[str, str],
        Meta(description='keys by binding id, such as pause = "space"'),
    ] = msgspec.field(default_factory=dict)
