"""What a chat session needs of the model and of the teacher; tests stand in for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from tui_trainer.contracts.chat import Comparison, ModelReady
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.teaching import TrainingRecord


class AnswerLike(Protocol):
    """What the model said; see `chat.client.Answer`."""

    @property
    def text(self) -> str: ...
    @property
    def tokens(self) -> int: ...
    @property
    def seconds(self) -> float: ...
    @property
    def cancelled(self) -> bool: ...
    @property
    def adapter(self) -> str | None: ...
    @property
    def adapters(self) -> dict[str, float]: ...


class ChatModel(Protocol):
    """The part of `chat.client.ChatClient` that a session uses. All of it raises `UserError`."""

    @property
    def model(self) -> str:
        """The base, as in a job."""
        ...

    @property
    def facts(self) -> ModelReady | None:
        """Facts about the loaded base."""
        ...

    @property
    def live(self) -> dict[str, float]:
        """The adapters that answer, with their weights."""
        ...

    def start(self) -> ModelReady:
        """Loads the base."""
        ...

    def close(self) -> None:
        """Ends the model's process."""
        ...

    def answer(
        self,
        turns: Sequence[Turn],
        *,
        max_new_tokens: int,
        on_token: Callable[[str], None] | None = None,
    ) -> AnswerLike:
        """The answer to a conversation, told as it comes."""
        ...

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answers of one adapter, whatever is live."""
        ...

    def cancel(self) -> None:
        """Ends the answer under way."""
        ...

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Lets these adapters answer."""
        ...

    def compare(self, a: Path, b: Path) -> Comparison:
        """Two adapters, layer by layer."""
        ...

    def merge(
        self, adapter: Path, out: Path, *, on_progress: Callable[[str], None] | None = None
    ) -> Path:
        """Writes base and adapter as one model."""
        ...


class Buffered(Protocol):
    """How far the waiting examples are from a training; see `teaching.trigger`."""

    @property
    def count(self) -> int: ...
    @property
    def threshold(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def weight_threshold(self) -> float: ...
    @property
    def needs_correction(self) -> int: ...


class BackgroundTrainer(Protocol):
    """The part of `teaching.teacher.Teacher` that a session uses."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be taught at the moment."""
        ...

    @property
    def teaching(self) -> bool:
        """Whether this session is the one that trains for the home folder."""
        ...

    def start(self) -> None:
        """Begins to watch the feedback."""
        ...

    def close(self) -> None:
        """Ends the watching."""
        ...

    def poke(self) -> None:
        """Says that feedback or settings changed."""
        ...

    def train_now(self) -> TrainingRecord:
        """Queues a training. Raises `UserError`."""
        ...

    def trainings(self) -> list[TrainingRecord]:
        """Every training, oldest first."""
        ...

    def buffer(self) -> Buffered:
        """What waits."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Whether all is done, after `timeout` seconds at most."""
        ...

    def override(self, training_id: str) -> TrainingRecord:
        """Lets a refused adapter go live. Raises `UserError`."""
        ...

    def cancel(self, training_id: str) -> None:
        """Ends a training. Raises `UserError`."""
        ...
