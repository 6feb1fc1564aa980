"""The heading of the form's folded part, with the number of changed fields in it."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui_trainer.text import formats
from tui_trainer.tui.new_run import layout

_NAMES = ", ".join(title for title, _keys in layout.MORE)


class FieldFold(Static, can_focus=True):
    """One line; enter, space or a click opens or folds the part below it."""

    BINDINGS: ClassVar = [Binding("enter,space", "toggle_fold", "more", show=False)]

    class Toggled(Message):
        """The part below is to be opened or folded."""

    def show(self, opened: bool, changed: int, wrong: int) -> None:
        """Show whether the part is open, and how many of its fields differ from their defaults."""
        mark = "▼ less" if opened else "▶ more"
        parts: list[str | tuple[str, str]] = [(mark, "bold $accent"), "  "]
        if wrong and not opened:
            parts.append((f"{formats.count(wrong)} invalid  ", "$error"))
        if changed:
            parts.append((f"{formats.count(changed)} changed  ", "$foreground"))
        if not opened:
            parts.append(_NAMES)
        self.update(Content.assemble(*parts))

    def action_toggle_fold(self) -> None:
        self.post_message(self.Toggled())

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_toggle_fold()
