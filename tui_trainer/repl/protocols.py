"""The parts of the chat client and of the trainer that a session uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from tui_trainer.contracts.chat.protocol import Comparison, ModelReady
from tui_trainer.contracts.chat.sampling import Finish
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.contracts.teaching.training import BufferState, TrainingRecord


class AnswerLike(Protocol):
    """An answer of the model; see `chat.client`."""

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
    @property
    def dropped_turns(self) -> int: ...
    @property
    def finish(self) -> Finish: ...


class ChatModel(Protocol):
    """The part of `chat.client.ChatClient` that a session uses. All of it raises `UserError`."""

    @property
    def model(self) -> str:
        """The base model as a job names it."""
        ...

    @property
    def facts(self) -> ModelReady | None:
        """Facts about the loaded base."""
        ...

    @property
    def live(self) -> dict[str, float]:
        """The active adapters with their weights."""
        ...

    def start(self) -> ModelReady:
        """Load the base."""
        ...

    def close(self) -> None:
        """End the model's process."""
        ...

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
    ) -> AnswerLike:
        """Answer a conversation; `on_token` receives the text as it is generated."""
        ...

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer several questions with one adapter, whichever is active."""
        ...

    def cancel(self) -> None:
        """Cancel the answer that is being generated, if any."""
        ...

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Activate these adapters."""
        ...

    def compare(self, a: Path, b: Path) -> Comparison:
        """Compare two adapters layer by layer."""
        ...

    def merge(
        self, adapter: Path, out: Path, *, on_progress: Callable[[str], None] | None = None
    ) -> Path:
        """Merge base and adapter into one model."""
        ...


class BackgroundTrainer(Protocol):
    """The part of `teaching.feedback_trainer.FeedbackTrainer` that a session uses."""

    @property
    def problem(self) -> str | None:
        """Why nothing can be trained at the moment, or None."""
        ...

    @property
    def teaching(self) -> bool:
        """Whether this session is the one that trains for the home folder."""
        ...

    def start(self) -> None:
        """Start watching the feedback."""
        ...

    def close(self) -> None:
        """Stop watching the feedback."""
        ...

    def wake(self) -> None:
        """Check the feedback and settings again without delay."""
        ...

    def train_now(self) -> TrainingRecord:
        """Queue a training. Raises `UserError`."""
        ...

    def trainings(self) -> list[TrainingRecord]:
        """Every training, oldest first."""
        ...

    def buffer(self) -> BufferState:
        """The pending examples."""
        ...

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no training is queued or running, at most `timeout` seconds; return whether
        that is so."""
        ...

    def override(self, training_id: str) -> TrainingRecord:
        """Activate a refused adapter. Raises `UserError`."""
        ...

    def cancel(self, training_id: str) -> None:
        """Cancel a training. Raises `UserError`."""
        ...
