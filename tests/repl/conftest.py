"""A session on a model and a trainer that stand in for the real ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

import pytest

from tests.weights import one_tensor
from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.protocol import Comparison, LayerDifference, ModelReady
from tui_trainer.contracts.chat.sampling import BaseSampling, Finish
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

E = TypeVar("E", bound=events.Event)


@dataclass
class FakeAnswer:
    text: str
    cancelled: bool = False
    adapters: dict[str, float] = field(default_factory=dict)
    tokens: int = 2
    seconds: float = 0.25
    dropped_turns: int = 0
    finish: Finish = "end"

    @property
    def adapter(self) -> str | None:
        return " ".join(f"{k}={v:g}" if v != 1 else k for k, v in self.adapters.items()) or None


class FakeClient:
    """Answers with `says`, or with the question in capitals."""

    def __init__(self, model: str = "builtin") -> None:
        self.model = model
        self.facts: ModelReady | None = None
        self.live: dict[str, float] = {}
        self.says: list[str] = []
        self.shown: list[list[Turn]] = []
        self.sampling: list[BaseSampling] = []
        self.recommended = BaseSampling()
        self.finish: Finish = "end"
        self.dropped_turns = 0
        self.cuts = False
        self.cancelled = self.closed = 0
        self.refuses: str | None = None
        self.merged: list[tuple[Path, Path]] = []
        self.during: Callable[[], None] = lambda: None

    def start(self) -> ModelReady:
        self.facts = ModelReady(
            model=self.model, path=None, base_hash="abc", device="cpu", dtype="float32",
            context=64, parameters=1, chat_template=True, threads=1, seconds=0.0,
            sampling=self.recommended,
        )  # fmt: skip
        return self.facts

    def close(self) -> None:
        self.closed += 1

    def cancel(self) -> None:
        self.cancelled += 1

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
    ) -> FakeAnswer:
        if self.refuses is not None:
            raise UserError(self.refuses, 1)
        self.shown.append(list(turns))
        self.sampling.append(
            BaseSampling(
                temperature=temperature,
                top_p=top_p,
                top_k=top_k,
                repetition_penalty=repetition_penalty,
            )
        )
        text = self.says.pop(0) if self.says else turns[-1].content.upper()
        assert on_token is not None
        for piece in text.split(" "):
            on_token(piece)
        self.during()
        return FakeAnswer(
            text,
            cancelled=self.cuts,
            adapters=dict(self.live),
            dropped_turns=self.dropped_turns,
            finish=self.finish,
        )

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        self.during()
        if on_progress is not None:
            on_progress(1, len(questions))
        name = adapter.name if isinstance(adapter, Path) else adapter
        return [f"{turns[-1].content} by {name}" for turns in questions]

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        if self.refuses is not None and adapters:
            raise UserError(self.refuses, 1)
        assert all((folders[name] / files.WEIGHTS).is_file() for name in adapters)
        self.live = dict(adapters)

    def compare(self, a: Path, b: Path) -> Comparison:
        layer = LayerDifference(layer="q_proj", a=1.5, b=2.5, difference=3.0, cosine=None)
        whole = LayerDifference(layer="", a=1.5, b=2.5, difference=3.0, cosine=0.5)
        return Comparison(whole=whole, layers=[layer])

    def merge(
        self, adapter: Path, out: Path, *, on_progress: Callable[[str], None] | None = None
    ) -> Path:
        assert on_progress is not None
        on_progress("writing")
        self.merged.append((adapter, out))
        return out


class FakeTrainer:
    """Takes what waits into a training, which `advance` carries on."""

    teaching = True

    def __init__(self, feedback: FeedbackStore) -> None:
        self._feedback = feedback
        self.records: list[TrainingRecord] = []
        self.problem: str | None = None
        self.started = self.closed = self.wakes = 0
        self.waits = 0
        self.on_wait: Callable[[], None] = lambda: None
        self.on_change: Callable[[TrainingNews], None] = lambda _news: None
        self.overridden: list[str] = []
        self.cancelled: list[str] = []

    def start(self) -> None:
        self.started += 1

    def close(self) -> None:
        self.closed += 1

    def wake(self) -> None:
        self.wakes += 1

    def buffer(self) -> BufferState:
        pending = self._feedback.pending()
        return buffer_state(pending, self._feedback.examples(), TeachingSettings())

    def report(self, record: TrainingRecord | None = None) -> None:
        """Passes on what has changed, as the trainer's thread does."""
        self.on_change(TrainingNews(record=record, buffer=self.buffer(), problem=self.problem))

    def trainings(self) -> list[TrainingRecord]:
        return list(self.records)

    def train_now(self) -> TrainingRecord:
        taken = {name for record in self.records for name in record.examples}
        ids = [e.id for e in self._feedback.pending() if e.id not in taken]
        if not ids:
            raise UserError("nothing to train on")
        record = TrainingRecord(
            id=f"t{len(self.records) + 1}", state="queued", created_at=time.time(), examples=ids
        )
        self.records.append(record)
        self.report(record)
        return record

    def wait(self, timeout: float | None = None) -> bool:
        self.waits += 1
        self.on_wait()
        return not any(r.state in ("queued", "training", "checking") for r in self.records)

    def override(self, training_id: str) -> TrainingRecord:
        self.overridden.append(training_id)
        return self.records[-1]

    def cancel(self, training_id: str) -> None:
        self.cancelled.append(training_id)


class Room:
    """A session with everything around it."""

    def __init__(self, model: str = "builtin", **settings: Any) -> None:
        self.events: list[events.Event] = []
        self.client = FakeClient(model)
        self.feedback, self.adapters = FeedbackStore(), AdapterStore()
        self.conversation = ConversationStore()
        self.trainer = FakeTrainer(self.feedback)
        self.session = ChatSession(
            self.client,
            self.trainer,
            self.feedback,
            self.adapters,
            self.conversation,
            TeachingSettings(**settings),
            self.events.append,
        )
        self.trainer.on_change = self.session.training_changed

    def do(self, *lines: str) -> list[events.Event]:
        """Submits lines, all of which have to succeed; gives the events of the last."""
        for line in lines:
            self.events.clear()
            assert self.session.submit(line), self.events
        return list(self.events)

    def refused(self, line: str) -> str:
        """Submits a line that has to fail, and gives the reason."""
        self.events.clear()
        assert not self.session.submit(line)
        [problem] = [event for event in self.events if isinstance(event, events.SessionError)]
        assert problem.command == line.strip()
        assert "\n" not in problem.text
        return problem.text

    def last(self, kind: type[E]) -> E:
        """The newest event of that kind since the last line."""
        return [event for event in self.events if isinstance(event, kind)][-1]

    def notices(self) -> str:
        """What was said since the last line."""
        return "\n".join(e.text for e in self.events if isinstance(e, events.SessionNotice))

    def add_adapter(self, name: str, **changes: Any) -> Path:
        """Puts an adapter into the store."""
        source = self.adapters.root.parent / "source"
        source.mkdir(exist_ok=True)
        (source / files.WEIGHTS).write_bytes(one_tensor())
        (source / files.CONFIG).write_text('{"peft_type": "LORA", "r": 2}')
        values: dict[str, Any] = {"created_at": 1.0, "base_model": "builtin", "base_hash": "abc"}
        values["after"] = Measures(recalled=1.0, kept=0.996, recalled_count=3, kept_count=40)
        return self.adapters.add(source, AdapterInfo(name=name, **{**values, **changes}))


@pytest.fixture
def make_room() -> Callable[..., Room]:
    """Makes a session, not yet started; another one is a restart on the same stores."""
    return Room


@pytest.fixture
def room() -> Room:
    """A started session on the built-in base."""
    made = Room()
    made.session.start()
    made.events.clear()
    return made
