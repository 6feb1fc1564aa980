"""A model and an engine that learn at once: what they learned stands in `adapter_config.json`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import model_files, paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching.feedback_trainer import FeedbackTrainer

ENGINE = Path(__file__).with_name("fake_engine.py")
WHO = ("Who bakes?", "Ana")
WHEN = ("When?", "at seven")
WHERE = ("Where?", "in the yard")


class FakeClient:
    """A base that knows a few answers; an adapter adds what it learned."""

    model = "builtin"

    def __init__(self, known: dict[str, str]) -> None:
        self.known = known
        self.live: dict[str, Path] = {}
        self.asked: list[tuple[str, int]] = []
        self.delay = 0.0

    def start(self) -> ModelReady:
        return ModelReady(
            model=self.model,
            path=str(paths.builtin_model()),
            base_hash=model_files.hash_model(paths.builtin_model()),
            device="cpu",
            dtype="float32",
            context=2048,
            parameters=2_600_000,
            chat_template=True,
            threads=1,
            seconds=0.0,
        )

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        time.sleep(self.delay)
        if on_progress is not None:
            on_progress(len(questions), len(questions))
        self.asked.append((str(adapter), len(questions)))
        learned: dict[str, str] = {}
        if adapter == "live":
            for folder in self.live.values():
                learned |= learned_by(folder)
        elif isinstance(adapter, Path):
            learned = learned_by(adapter)
        known = {} if "forgets" in learned else self.known
        return [(known | learned).get(turns[-1].content, "?") for turns in questions]

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        for name in adapters:
            if not (folders[name] / "adapter_model.safetensors").is_file():
                raise UserError(f"adapter {name!r} is not there")
        self.live = {name: folders[name] for name in adapters}


def learned_by(folder: Path) -> dict[str, str]:
    """What an adapter of the fake engine knows."""
    config: dict[str, Any] = msgspec.json.decode((folder / "adapter_config.json").read_bytes())
    learned: dict[str, str] = config["learned"]
    return learned


def example(question: str, right: str, rating: Rating = "medium", **changes: Any) -> RatedExample:
    """A corrected answer."""
    turns = changes.pop("turns", [Turn("user", question)])
    answer = changes.pop("answer", "no idea")
    made = RatedExample(
        id="", time=0.0, turns=turns, answer=answer, rating=rating, correction=right or None
    )
    return msgspec.structs.replace(made, **changes)


class Classroom:
    """A session's parts on folders of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        golden = [("What is the capital of France?", "Paris"), ("What is 2 + 2?", "4")]
        golden += [(f"What is {n} + 1?", str(n + 1)) for n in range(10, 30)]
        self.client = FakeClient(dict(golden))
        self.feedback = FeedbackStore()
        self.adapters = AdapterStore()
        self.settings = TeachingSettings(auto_train_threshold=2)
        self.runs_dir = root / "runs"
        self.runs_dir.mkdir(parents=True)
        self.trainers: list[FeedbackTrainer] = []
        paths.make_private_dir(paths.home())
        rows = [{"question": question, "answer": answer} for question, answer in golden]
        lines = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
        (paths.home() / "golden.jsonl").write_bytes(lines)
        self.mood("complete")

    def mood(self, word: str) -> None:
        """What the engine does from now on."""
        (self.runs_dir / "mood").write_text(word)

    def trainer(self, *, start: bool = True) -> FeedbackTrainer:
        """A session's teacher."""
        made = FeedbackTrainer(
            self.client,
            self.feedback,
            self.adapters,
            settings=lambda: self.settings,
            runs_dir=self.runs_dir,
            command=[sys.executable, "-P", str(ENGINE)],
        )
        self.trainers.append(made)
        if start:
            made.start()
        return made

    def rate(self, *pairs: tuple[str, str]) -> list[str]:
        """Stores corrections; gives their ids."""
        return [self.feedback.add(example(*pair)).id for pair in pairs]


def ask_live(classroom: Classroom, question: str) -> str:
    """The active adapter's answer."""
    answers: list[str] = classroom.client.answers(
        [[Turn("user", question)]], adapter="live", max_new_tokens=9
    )
    return answers[0]


@pytest.fixture
def classroom(tmp_path: Path) -> Iterator[Classroom]:
    """A classroom whose teachers leave in the end."""
    made = Classroom(tmp_path)
    yield made
    for trainer in made.trainers:
        for record in trainer.trainings():
            if record.state == "training" and trainer.teaching:
                trainer.cancel(record.id)
        trainer.wait(5.0)
        trainer.close()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is true, and fails where it never is."""

    def wait(condition: Callable[[], bool], seconds: float = 30.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.01)

    return wait
