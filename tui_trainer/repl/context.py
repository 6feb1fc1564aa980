"""The model, trainer and stores that the commands of a session share."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.sampling import BaseSampling, ChatSettings
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.contracts.teaching.training import BufferState, TeachingSettings
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.protocols import BackgroundTrainer, ChatModel
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore, RecordedTurn
from tui_trainer.store.feedback.feedback_store import FeedbackStore

Handler = Callable[[SlashCommand], None]


@dataclass(frozen=True)
class Exchange:
    """A question with its answer; `turns` is the prompt, ending with the question."""

    turns: list[Turn]
    answer: RecordedTurn

    @property
    def question(self) -> str:
        """The question's text."""
        return self.turns[-1].content


@dataclass
class SessionContext:
    """Model, trainer and stores of one session.

    `emit` may be called from any thread. `chat` is how answers are generated. `cancelled` is set
    when the user cancels the running command. `pending_action` is a question to the user with
    the action that `/yes` runs. `emitted_buffer` is the buffer status that was emitted last.
    """

    client: ChatModel
    trainer: BackgroundTrainer
    feedback: FeedbackStore
    adapters: AdapterStore
    conversation: ConversationStore
    settings: TeachingSettings
    emit: Callable[[events.Event], None]
    chat: ChatSettings = field(default_factory=ChatSettings)
    cancelled: threading.Event = field(default_factory=threading.Event)
    pending_action: tuple[str, Callable[[], None]] | None = None
    emitted_buffer: events.BufferStatus | None = None

    @property
    def base(self) -> str:
        """The base model as a job names it."""
        return self.client.model

    def emit_notice(self, text: str) -> None:
        """Emit a notice."""
        self.emit(events.SessionNotice(text=text))

    def confirm(self, text: str, action: Callable[[], None]) -> None:
        """Ask the user to confirm `action`; `/yes` runs it."""
        self.pending_action = (text, action)
        self.emit(events.Confirm(text=text))

    def sampling(self) -> BaseSampling:
        """How the tokens of an answer are chosen, by the settings and the base."""
        facts = self.client.facts
        return self.chat.resolved(BaseSampling() if facts is None else facts.sampling)

    def active_text(self) -> str | None:
        """The active adapters as answers name them: None, a name, or `a=0.7 b=0.3`."""
        live = self.client.live
        if list(live.values()) == [1.0]:
            return next(iter(live))
        return " ".join(f"{name}={weight:g}" for name, weight in live.items()) or None

    def prompt_turns(self, recorded: list[RecordedTurn]) -> list[Turn]:
        """The system prompt, if any, and the earlier turns that go into the prompt with a
        question, complete exchanges only."""
        count = self.settings.context_turns
        if count is None:
            count = 0 if self.base == "builtin" else len(recorded)
        count -= count % 2
        system = self.conversation.system
        return [Turn("system", system)] * bool(system) + [
            Turn(turn.role, turn.content)
            for turn in recorded[max(0, len(recorded) - count) :]
            if count
        ]

    def last_exchange(self) -> Exchange | None:
        """The newest question with its answer, or None."""
        recorded = self.conversation.recorded()
        if len(recorded) < 2 or (recorded[-2].role, recorded[-1].role) != ("user", "assistant"):
            return None
        turns = [*self.prompt_turns(recorded[:-2]), Turn("user", recorded[-2].content)]
        return Exchange(turns, recorded[-1])

    def require_exchange(self) -> Exchange:
        """The newest question with its answer. Raises `UserError` if nothing was answered yet."""
        exchange = self.last_exchange()
        if exchange is None:
            raise UserError("there is no answer yet; type a question first")
        return exchange

    def activate(self, weights: dict[str, float]) -> None:
        """Activate these adapters (name -> weight), now and after a restart.

        Raises `UserError` if one of them cannot be used; nothing is changed then.
        """
        folders: dict[str, Path] = {}
        for name in weights:
            self.adapters.check_answers(name)
            problem = self.adapters.problem(name)
            if problem:
                raise UserError(f"adapter {name!r} cannot be loaded: {problem}", 1)
            folders[name] = self.adapters.folder(name)
            made_for = self.adapters.get(name).base_model
            if made_for != self.base:
                raise UserError(f"adapter {name!r} was made for {made_for}, not for {self.base}", 1)
        self.client.use(weights, folders)
        self.adapters.set_live(weights, self.base)
        self.emit(events.AdaptersActivated(adapters=weights))

    def emit_buffer(self, state: BufferState | None = None) -> None:
        """Emit the buffer status: `state` if it differs from the last one, or the present one."""
        buffer = events.BufferStatus(**msgspec.structs.asdict(state or self.trainer.buffer()))
        if state is not None and buffer == self.emitted_buffer:
            return
        self.emitted_buffer = buffer
        self.emit(buffer)
