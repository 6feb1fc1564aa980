"""What every command of a session works with."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tui_trainer.contracts import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.protocols import BackgroundTrainer, ChatModel
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore, RecordedTurn
from tui_trainer.store.feedback.feedback_store import FeedbackStore

Handler = Callable[[SlashCommand], None]


@dataclass(frozen=True)
class Exchange:
    """A question with its answer; `turns` is what the model was shown."""

    turns: list[Turn]
    answer: RecordedTurn

    @property
    def question(self) -> str:
        """The question's text."""
        return self.turns[-1].content


@dataclass
class SessionContext:
    """Model, teacher and stores of one session; `cancelled` is set where the user wants the
    command under way to end, `emit` may be called from any thread."""

    client: ChatModel
    teacher: BackgroundTrainer
    feedback: FeedbackStore
    adapters: AdapterStore
    conversation: ConversationStore
    settings: TeachingSettings
    emit: Callable[[events.Event], None]
    cancelled: threading.Event = field(default_factory=threading.Event)
    asked: tuple[str, Callable[[], None]] | None = None
    told_buffer: events.BufferStatus | None = None

    @property
    def base(self) -> str:
        """The base model, as in a job."""
        return self.client.model

    def say(self, text: str) -> None:
        """A notice."""
        self.emit(events.SessionNotice(text=text))

    def ask(self, text: str, action: Callable[[], None]) -> None:
        """Asks before something is done; `/yes` does it."""
        self.asked = (text, action)
        self.emit(events.Confirm(text=text))

    def context(self, said: list[RecordedTurn]) -> list[Turn]:
        """The earlier turns that the model is shown with a question, whole exchanges only."""
        wanted = self.settings.context_turns
        if wanted is None:
            wanted = 0 if self.base == "builtin" else len(said)
        wanted -= wanted % 2
        return [
            Turn(turn.role, turn.content) for turn in said[max(0, len(said) - wanted) :] if wanted
        ]

    def last(self) -> Exchange | None:
        """The newest question with its answer."""
        said = self.conversation.said()
        if len(said) < 2 or (said[-2].role, said[-1].role) != ("user", "assistant"):
            return None
        turns = [*self.context(said[:-2]), Turn("user", said[-2].content)]
        return Exchange(turns, said[-1])

    def must_last(self) -> Exchange:
        """The newest question with its answer. Raises `UserError` where there is none."""
        exchange = self.last()
        if exchange is None:
            raise UserError("there is no answer yet: ask something first")
        return exchange

    def put_live(self, weights: dict[str, float]) -> None:
        """Lets these adapters answer, now and after a restart. Raises `UserError` where one is
        refused; nothing changes then."""
        folders: dict[str, Path] = {}
        for name in weights:
            wrong = self.adapters.problem(name)
            if wrong:
                raise UserError(f"adapter {name!r} cannot be loaded: {wrong}", 1)
            folders[name] = self.adapters.folder(name)
            made_for = self.adapters.get(name).base_model
            if made_for != self.base:
                raise UserError(f"adapter {name!r} was made for {made_for}, not for {self.base}", 1)
        self.client.use(weights, folders)
        self.adapters.set_live(weights, self.base)
        self.emit(events.AdaptersActivated(adapters=weights))

    def tell_buffer(self, *, news_only: bool = False) -> None:
        """Emits the buffer; with `news_only` not if it was the last one told."""
        buffer = self.buffer()
        if news_only and buffer == self.told_buffer:
            return
        self.told_buffer = buffer
        self.emit(buffer)

    def buffer(self) -> events.BufferStatus:
        """How far the waiting examples are from a training."""
        state = self.teacher.buffer()
        return events.BufferStatus(
            count=state.count,
            threshold=state.threshold,
            weight=state.weight,
            weight_threshold=state.weight_threshold,
            needs_correction=state.needs_correction,
        )
