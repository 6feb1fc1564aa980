"""The feedback buffer on the dashboard."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.chat.teaching_status import FeedbackFacts, feedback_lines
from tui_trainer.tui.common.panel import Panel, stack


class FeedbackPanel(Panel[FeedbackFacts]):
    """The buffer, on the dashboard; hidden until the chat was used."""

    def __init__(self) -> None:
        super().__init__(FeedbackFacts(), id="feedback")

    def draw(self, facts: FeedbackFacts, width: int, height: int) -> Content:
        return stack(*feedback_lines(facts, width))
