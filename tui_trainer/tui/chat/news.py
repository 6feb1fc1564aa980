"""What the threads of a chat session report to the screen."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.feedback import Rating
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.tui.chat.loss_curve import LossCurve

if TYPE_CHECKING:  # monitor does not load it
    from tui_trainer.store.feedback.conversations import RecordedTurn


@dataclass(frozen=True)
class SessionOpened:
    """The stores were read."""

    model: str
    turns: tuple[RecordedTurn, ...] = ()  # of the conversation, oldest first
    ratings: dict[str, Rating] = field(default_factory=dict)  # by id of the example
    trainings: tuple[TrainingRecord, ...] = ()  # oldest first
    history: tuple[str, ...] = ()  # input lines, oldest first
    live: dict[str, float] = field(default_factory=dict)  # active adapters with their weights


@dataclass(frozen=True)
class ModelLoading:
    """The model is being loaded; `message` is the current stage."""

    message: str = ""


@dataclass(frozen=True)
class ChatReady:
    """The model is loaded."""

    parameters: int
    device: str
    dtype: str


@dataclass(frozen=True)
class ChatUnavailable:
    """The stores cannot be read or the model cannot be loaded."""

    reason: str


@dataclass(frozen=True)
class LineStarted:
    """A line is being executed."""

    line: str


@dataclass(frozen=True)
class LineEnded:
    """A line was executed; `done` is False if it failed."""

    line: str
    done: bool


@dataclass(frozen=True)
class TrainingProgressed:
    """A training has changed; `curve` has its losses so far."""

    record: TrainingRecord
    curve: LossCurve | None = None


@dataclass(frozen=True)
class TrainsElsewhere:
    """Another session trains for this home folder."""


News = (
    events.Event
    | SessionOpened
    | ModelLoading
    | ChatReady
    | ChatUnavailable
    | LineStarted
    | LineEnded
    | TrainingProgressed
    | TrainsElsewhere
)
