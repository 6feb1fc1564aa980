"""What stands while the rest of the program is loaded: the bars, and a sentence."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.common.page import Page

_SENTENCE = "reading the folder …"


class SplashScreen(Page):
    """The first paint, made without numpy; the dashboard takes its place with the first
    snapshot."""

    place = "dashboard"

    def on_mount(self) -> None:
        self.call_after_refresh(self.session.begin)

    def refresh_all(self) -> None:
        if self.is_mounted:
            self.draw_place()
            self.say(self.too_small() or Content(_SENTENCE))
