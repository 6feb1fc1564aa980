"""What the threads of a chat session report to the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui_trainer.contracts import session as events
from tui_trainer.contracts.feedback import Rating
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.tui.chat.loss_curve import LossCurve

if TYPE_CHECKING:  # monitor does not load it
    from tui_trainer.store.feedback.conversations import RecordedTurn


@dataclass(frozen=True)
class SessionOpened:
    """The stores are read: what was said before, how it was rated, and the trainings."""

    model: str
    said: tuple[RecordedTurn, ...] = ()
    ratings: dict[str, Rating] = field(default_factory=dict)
    trainings: tuple[TrainingRecord, ...] = ()
    history: tuple[str, ...] = ()
    live: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelLoading:
    """The model is being loaded; `message` is a few words from its process."""

    message: str = ""


@dataclass(frozen=True)
class ChatReady:
    """The model answers."""

    parameters: int
    device: str
    dtype: str


@dataclass(frozen=True)
class ChatUnavailable:
    """There is no chat, and why."""

    reason: str


@dataclass(frozen=True)
class LineStarted:
    """A line is being done."""

    line: str


@dataclass(frozen=True)
class LineEnded:
    """A line is done, or was refused."""

    line: str
    done: bool


@dataclass(frozen=True)
class TrainingProgressed:
    """A training has come on, with its losses so far."""

    record: TrainingRecord
    curve: LossCurve | None = None


@dataclass(frozen=True)
class NotTeaching:
    """Another session teaches for this home folder."""


News = (
    events.Event
    | SessionOpened
    | ModelLoading
    | ChatReady
    | ChatUnavailable
    | LineStarted
    | LineEnded
    | TrainingProgressed
    | NotTeaching
)
