"""The model, stores and settings that the trainings of a session share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings, TrainingRecord
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.answer_cache import AnswerCache, Ask, OnAsked, no_progress
from tui_trainer.teaching.model_client import TeachingModel
from tui_trainer.teaching.training_queue import QueueEntry, TrainingQueue


@dataclass
class TeachingContext:
    """Stores, model and settings.

    `stopping` is set when the session ends. `cancelled_ids` are the trainings that the user has
    cancelled, `current_id` is the one that is processed; `on_record` receives the record of a
    training that has changed, `on_notice` what was changed without being asked. `command` replaces
    the engine's command line (in tests).
    """

    client: TeachingModel
    feedback: FeedbackStore
    adapters: AdapterStore
    queue: TrainingQueue
    settings: Callable[[], TeachingSettings]
    runs_dir: Path
    on_record: Callable[[TrainingRecord], None]
    on_notice: Callable[[str], None]
    trust_remote_code: bool = False
    conversation: Callable[[], ConversationStore] = ConversationStore
    command: Sequence[str] | None = None
    stopping: threading.Event = field(default_factory=threading.Event)
    cancelled_ids: set[str] = field(default_factory=set)
    current_id: str | None = None

    @property
    def base(self) -> str:
        """The base model as a job names it."""
        return self.client.model

    def folder(self, training_id: str) -> Path:
        """The folder of a training's own files."""
        return self.queue.folder / training_id

    def put(self, entry: QueueEntry) -> QueueEntry:
        """Writes a training's new state to the queue and reports it."""
        self.queue.put(entry)
        self.on_record(entry.record)
        return entry

    def examples(self) -> list[RatedExample]:
        """Every example for this base."""
        return [e for e in self.feedback.examples() if e.base_model == self.base]

    def asker(
        self,
        ready: ModelReady,
        *,
        live: bool,
        max_new_tokens: int,
        on_progress: OnAsked = no_progress,
    ) -> Ask:
        """A function that answers questions by the active adapters (`live`) or the base alone,
        with at most `max_new_tokens` tokens; known answers come from the cache."""
        adapters = self._live() if live else []
        form = [ready.dtype, ready.quantization]
        name = msgspec.json.encode(
            [ready.model, ready.base_hash, form, max_new_tokens, adapters]
        ).decode()
        cache = AnswerCache(self.queue.folder / "answers", name)

        def ask(questions: list[list[Turn]]) -> list[str]:
            return self.ask(questions, "live" if adapters else None, max_new_tokens)

        return lambda questions: cache.answers(questions, ask, on_progress)

    def ask(
        self,
        questions: list[list[Turn]],
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
    ) -> list[str]:
        """Answers of at most `max_new_tokens` tokens. Raises `UserError`, also where the session
        ends or the training is cancelled."""

        def check_stopping(_done: int, _total: int) -> None:
            if self.stopping.is_set():
                raise UserError("the session ended")
            if self.current_id in self.cancelled_ids:
                raise UserError("cancelled")

        return self.client.answers(
            questions, adapter=adapter, max_new_tokens=max_new_tokens, on_progress=check_stopping
        )

    def _live(self) -> list[tuple[str, float, str, float]]:
        """Identifies the active adapters, telling a later one of the same name apart."""
        live = self.adapters.live(self.base)
        infos = [(self.adapters.get(name), weight) for name, weight in sorted(live.items())]
        return [(i.name, i.created_at, i.data_hash or "", weight) for i, weight in infos]
