"""The panel about teaching, beside the conversation or above its input line."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.chat.teaching_status import TeachingFacts, blocks_of, one_line
from tui_trainer.tui.common.panel import Panel


class TeachingPanel(Panel[TeachingFacts]):
    """The active model, the buffer, the current training, and the last result."""

    def __init__(self) -> None:
        super().__init__(TeachingFacts(), id="teaching")

    def draw(self, facts: TeachingFacts, width: int, height: int) -> Content:
        return one_line(facts, width) if height == 1 else blocks_of(facts, width)
