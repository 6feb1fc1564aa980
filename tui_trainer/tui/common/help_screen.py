"""The help: every key, grouped by screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content

from tui_trainer.tui import keymap
from tui_trainer.tui.common.dialogs.dialog import FullDialog
from tui_trainer.tui.common.dialogs.text_view import TextPanel
from tui_trainer.tui.common.markup import beside, wrapped
from tui_trainer.tui.common.panel import stack
from tui_trainer.tui.keymap import Key, Keymap

HelpLine = Content | tuple[str, str]  # a heading or a note, or keys and what they do
_GROUPS = (
    ("run", "Run"),
    ("dashboard", "Dashboard"),
    ("runs", "Runs"),
    ("chat", "Chat"),
    ("adapters", "Adapters"),
    ("new", "New run"),
    ("app", "Everywhere"),
)
_MOUSE = (
    ("click", "a tab, a key of the bottom line, a run, a pane, a button"),
    ("wheel", "zoom the chart under the pointer"),
)
_KEYS = 9


class HelpScreen(FullDialog):
    """Scrolls; Esc, `?` and `q` close it."""

    BINDINGS: ClassVar = [
        Binding("question_mark", "dismiss(None)", "close", show=False),
    ]

    def __init__(self, mode: str, keys: Keymap, offers: Callable[[Key], bool]) -> None:
        super().__init__()
        self._lines = help_lines(mode, keys, offers)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -tall"):
            yield TextPanel(lambda width: help_text(self._lines, width))


def help_lines(mode: str, keys: Keymap, offers: Callable[[Key], bool]) -> list[HelpLine]:
    """All keys, a line each; those of the current screen come first."""
    groups = sorted(_GROUPS, key=lambda group: group[0] not in ("run", mode))
    lines: list[HelpLine] = []
    for scope, title in groups:
        rows = [
            (keys.all_shown(key), key.help)
            for key in keymap.KEYS
            if key.scope == scope and offers(key)
        ]
        if rows:
            lines += [Content.styled(title, "bold $accent"), *rows, Content("")]
    lines += [
        Content.styled("Mouse", "bold $accent"),
        *_MOUSE,
        Content(""),
        Content.styled(
            'To change a key, set it in config.toml, for example  keys.pause = "f8"', "$faint"
        ),
    ]
    return lines


def help_text(lines: Sequence[HelpLine], width: int) -> Content:
    """The lines at `width` cells; the text of a key is wrapped beside it."""
    drawn: list[Content] = []
    for line in lines:
        if isinstance(line, Content):
            drawn += wrapped(line, width)
        else:
            keys, text = line
            label = Content.styled(f"{keys:>{_KEYS}}  ", "bold")
            drawn += beside(label, Content.styled(text, "$faint"), width)
    return stack(*drawn)
