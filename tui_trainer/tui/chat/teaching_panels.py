"""Panels about feedback and trainings, for the chat and the dashboard."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.chat.teaching_status import (
    FeedbackFacts,
    TeachingFacts,
    blocks_of,
    feedback_lines,
    one_line,
)
from tui_trainer.tui.common.panel import Panel, stack


class TeachingPanel(Panel[TeachingFacts]):
    """The active model, the buffer, the current training, and the last result."""

    def __init__(self) -> None:
        super().__init__(TeachingFacts(), id="teaching")

    def draw(self, facts: TeachingFacts, width: int, height: int) -> Content:
        return one_line(facts, width) if height == 1 else blocks_of(facts, width)


class FeedbackPanel(Panel[FeedbackFacts]):
    """The buffer, on the dashboard; hidden until the chat has been used."""

    def __init__(self) -> None:
        super().__init__(FeedbackFacts(), id="feedback")

    def draw(self, facts: FeedbackFacts, width: int, height: int) -> Content:
        return stack(*feedback_lines(facts, width))
