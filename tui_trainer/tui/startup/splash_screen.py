"""The first screen, shown while the rest of the program loads."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.tui.common.page import Page

_TEXT = "reading the folder …"


class SplashScreen(Page):
    """Drawn without numpy; the dashboard replaces it with the first snapshot."""

    mode_name = "dashboard"

    def on_mount(self) -> None:
        self.call_after_refresh(self.session.begin)

    def refresh_all(self) -> None:
        if self.is_mounted:
            self.draw_top_bar()
            self.show_placeholder(self.too_small() or Content(_TEXT))
