"""A chat whose model and trainer do what the story says; stores and session are the real ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from tests.weights import one_tensor
from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.protocol import Comparison, LayerDifference, ModelReady
from tui_trainer.contracts.chat.sampling import Finish
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import AdapterInfo, Measures
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.contracts.teaching.training import (
    BufferState,
    TeachingSettings,
    TrainingNews,
    TrainingRecord,
)
from tui_trainer.repl.session import ChatSession
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.trigger import buffer_state
from tui_trainer.tui.app import TrainerApp


@dataclass
class Reported:
    """An answer of the fake model."""

    text: str
    cancelled: bool = False
    adapters: dict[str, float] = field(default_factory=dict)
    tokens: int = 2
    seconds: float = 0.25
    dropped_turns: int = 0
    finish: Finish = "end"

    @property
    def adapter(self) -> str | None:
        return " ".join(self.adapters) or None


class FakeModel:
    """Says what it is given, word by word; with `held` it waits before the last word."""

    model = "builtin"

    def __init__(self) -> None:
        self.facts: ModelReady | None = None
        self.live: dict[str, float] = {}
        self.says: list[str] = []
        self.held = threading.Event()
        self.held.set()
        self.loaded = threading.Event()
        self.loaded.set()
        self.cancelled = threading.Event()
        self.refuses: str | None = None
        self.closed = 0

    def start(self) -> ModelReady:
        self.loaded.wait(20)
        if self.refuses is not None:
            raise UserError(self.refuses, 1)
        self.facts = ModelReady(
            model="builtin", path=None, base_hash="abc", device="cpu", dtype="float32",
            context=64, parameters=2_600_000, chat_template=True, threads=1, seconds=0.0,
        )  # fmt: skip
        return self.facts

    def close(self) -> None:
        self.closed += 1
        self.held.set()
        self.loaded.set()

    def cancel(self) -> None:
        self.cancelled.set()
        self.held.set()

    def answer(
        self,
        turns: Sequence[Turn],
        *,
        max_new_tokens: int,
        temperature: float = 0.0,
        top_p: float = 1.0,
        top_k: int = 0,
        repetition_penalty: float = 1.0,
        on_token: Callable[[str], None] | None = None,
    ) -> Reported:
        self.cancelled.clear()
        text = self.says.pop(0) if self.says else f"an answer to {turns[-1].content}"
        assert on_token is not None
        first, _, last = text.rpartition(" ")
        on_token(first)
        self.held.wait(20)
        if self.cancelled.is_set():
            return Reported(first, cancelled=True)
        on_token(f" {last}" if first else last)
        return Reported(text, adapters=dict(self.live))

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        assert on_progress is not None
        while not self.held.wait(0.02):
            on_progress(1, 2)  # raises where the user has ended it
        name = adapter.name if isinstance(adapter, Path) else adapter
        return [f"as {name} has it" for _ in questions]

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        self.live = dict(adapters)

    def compare(self, a: Path, b: Path) -> Comparison:
        layer = LayerDifference(
            layer="model.layers.3.self_attn.q_proj", a=1.5, b=3.0, difference=3.0, cosine=0.25
        )
        return Comparison(whole=layer, layers=[layer])

    def merge(
        self, adapter: Path, out: Path, *, on_progress: Callable[[str], None] | None = None
    ) -> Path:
        assert on_progress is not None
        on_progress("writing the model")
        return out


class FakeTrainer:
    """Takes what waits into a training; the story says what becomes of it."""

    teaching = True
    problem: str | None = None

    def __init__(self, feedback: FeedbackStore) -> None:
        self._feedback = feedback
        self.records: list[TrainingRecord] = []
        self.overridden: list[str] = []
        self.on_change: Callable[[TrainingNews], None] = lambda _news: None
        self.threshold = 10

    def start(self) -> None: ...
    def close(self) -> None: ...
    def wake(self) -> None: ...

    def buffer(self) -> BufferState:
        taken = {name for record in self.records for name in record.examples}
        waiting = [e for e in self._feedback.pending() if e.id not in taken]
        settings = TeachingSettings(auto_train_threshold=self.threshold)
        return buffer_state(waiting, self._feedback.examples(), settings)

    def trainings(self) -> list[TrainingRecord]:
        return list(self.records)

    def train_now(self) -> TrainingRecord:
        ids = [example.id for example in self._feedback.pending()]
        if not ids:
            raise UserError("nothing to train on")
        record = TrainingRecord(id="t1", state="queued", created_at=time.time(), examples=ids)
        self.records.append(record)
        self._report()
        return record

    def becomes(self, **changes: Any) -> None:
        """The newest training changes, as the trainer's thread would tell it."""
        self.records[-1] = msgspec.structs.replace(self.records[-1], **changes)
        self._report()

    def _report(self) -> None:
        news = TrainingNews(record=self.records[-1], buffer=self.buffer(), problem=self.problem)
        self.on_change(news)

    def wait(self, timeout: float | None = None) -> bool:
        return True

    def override(self, training_id: str) -> TrainingRecord:
        self.overridden.append(training_id)
        return self.records[-1]

    def cancel(self, training_id: str) -> None:
        raise UserError("no story cancels a training")


class Room:
    """The fakes of one story with its stores; `open` is what the app opens."""

    def __init__(self) -> None:
        self.model = FakeModel()
        self.feedback, self.adapters = FeedbackStore(), AdapterStore()
        self.conversation = ConversationStore()
        self.trainer = FakeTrainer(self.feedback)

    def open(
        self, emit: Callable[[events.Event], None], on_status: Callable[[str], None]
    ) -> ChatSession:
        on_status("loading the model's weights")
        session = ChatSession(
            self.model, self.trainer, self.feedback, self.adapters, self.conversation,
            TeachingSettings(), emit,
        )  # fmt: skip
        self.trainer.on_change = session.training_changed
        return session

    def add_adapter(self, name: str, **changes: Any) -> Path:
        """Puts an adapter into the store."""
        source = self.adapters.root.parent / "source"
        write_adapter(source)
        values: dict[str, Any] = {
            "created_at": time.time(), "base_model": "builtin", "base_hash": "abc",
            "before": Measures(recalled=0.3, kept=1.0),
            "after": Measures(recalled=1.0, kept=0.98, recalled_count=10, kept_count=40),
            "examples": ["e1", "e2"], "train_loss": 0.0123,
        }  # fmt: skip
        return self.adapters.add(source, AdapterInfo(name=name, **{**values, **changes}))


def write_adapter(folder: Path) -> None:
    """The files of a small adapter in PEFT's format."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / files.WEIGHTS).write_bytes(one_tensor())
    (folder / files.CONFIG).write_text('{"peft_type": "LORA", "r": 2}')


@pytest.fixture
def room(home: Path) -> Room:
    """The story's model, trainer and stores."""
    return Room()


@pytest.fixture
def chat_app(session: Callable[..., TrainerApp], room: Room) -> Callable[..., TrainerApp]:
    """The app on that room."""
    return lambda **options: session(chat=room.open, **options)


@pytest.fixture
def put_adapter() -> Callable[[Path], None]:
    """Writes an adapter's files into a folder."""
    return write_adapter
