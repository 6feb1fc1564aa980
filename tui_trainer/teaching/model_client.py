"""What teaching needs of the chat process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from tui_trainer.contracts.chat import ModelReady
from tui_trainer.contracts.feedback import Turn


class TeachingModel(Protocol):
    """The part of `chat.client.ChatClient` that teaching uses; tests stand in for it."""

    @property
    def model(self) -> str:
        """The base, as in a job."""
        ...

    def start(self) -> ModelReady:
        """Facts about the base; waits until it is loaded. Raises `UserError`."""
        ...

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Greedy answers by the base (None), an adapter's folder or what is live."""
        ...

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Lets these adapters answer from now on. Raises `UserError` where refused."""
        ...
