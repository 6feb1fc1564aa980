"""What every training of a session works with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from tui_trainer.contracts.chat import ModelReady
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.answer_cache import AnswerCache, Ask
from tui_trainer.teaching.model_client import TeachingModel
from tui_trainer.teaching.training_queue import QueueEntry, TrainingQueue


@dataclass
class TeachingContext:
    """Stores, model and settings; `left` is set where the session goes, `ended_by_user` holds
    the ids of trainings that are to end. `command` stands in for the engine's."""

    client: TeachingModel
    feedback: FeedbackStore
    adapters: AdapterStore
    journal: TrainingQueue
    settings: Callable[[], TeachingSettings]
    runs_dir: Path
    on_change: Callable[[], None]
    trust_remote_code: bool = False
    conversation: Callable[[], ConversationStore] = ConversationStore
    command: Sequence[str] | None = None
    left: threading.Event = field(default_factory=threading.Event)
    ended_by_user: set[str] = field(default_factory=set)

    @property
    def base(self) -> str:
        """The base model, as in a job."""
        return self.client.model

    def folder(self, training_id: str) -> Path:
        """Where a training's own files lie."""
        return self.journal.folder / training_id

    def put(self, entry: QueueEntry) -> QueueEntry:
        """Notes how a training is from now on, and tells."""
        self.journal.put(entry)
        self.on_change()
        return entry

    def examples(self) -> list[RatedExample]:
        """Every example that is about this base."""
        return [e for e in self.feedback.examples() if e.base_model == self.base]

    def asker(self, ready: ModelReady, *, live: bool, longest: int) -> Ask:
        """Asks what is live, or the base alone, for answers of at most `longest` tokens; what
        it was asked before is known."""
        adapters = self._live() if live else []
        name = msgspec.json.encode([ready.model, ready.base_hash, longest, adapters]).decode()
        book = AnswerCache(self.journal.folder / "answers", name)

        def ask(questions: list[list[Turn]]) -> list[str]:
            return self.ask(questions, "live" if adapters else None, longest)

        return lambda questions: book.answers(questions, ask)

    def ask(
        self, questions: list[list[Turn]], adapter: Path | Literal["live"] | None, longest: int
    ) -> list[str]:
        """Answers of at most `longest` tokens; raises `UserError`, also where the session goes."""

        def go_on(_done: int, _total: int) -> None:
            if self.left.is_set():
                raise UserError("the session ended")

        return self.client.answers(
            questions, adapter=adapter, max_new_tokens=longest, on_progress=go_on
        )

    def _live(self) -> list[tuple[str, float, str, float]]:
        """What is live, so named that a later adapter of the same name is another."""
        live = self.adapters.live(self.base)
        infos = [(self.adapters.get(name), weight) for name, weight in sorted(live.items())]
        return [(i.name, i.created_at, i.data_hash or "", weight) for i, weight in infos]
