"""The part of the chat client that teaching uses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, Protocol

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.teaching.feedback import Turn


class TeachingModel(Protocol):
    """The part of `chat.client.ChatClient` that teaching uses."""

    @property
    def model(self) -> str:
        """The base model as a job names it."""
        ...

    def start(self) -> ModelReady:
        """Waits until the base is loaded; returns facts about it. Raises `UserError`."""
        ...

    def answers(
        self,
        questions: Sequence[Sequence[Turn]],
        *,
        adapter: Path | Literal["live"] | None,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Greedy answers by the base (None), an adapter in a folder, or the active adapters."""
        ...

    def use(self, adapters: dict[str, float], folders: dict[str, Path]) -> None:
        """Activates these adapters. Raises `UserError` where one is refused."""
        ...
