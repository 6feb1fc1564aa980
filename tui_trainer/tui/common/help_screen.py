"""The help: every key, grouped by screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.tui import keymap
from tui_trainer.tui.common.dialogs.dialog import FullDialog
from tui_trainer.tui.keymap import Key, Keymap

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
        self._content = help_text(mode, keys, offers)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -tall"):
            yield Static(self._content)


def help_text(mode: str, keys: Keymap, offers: Callable[[Key], bool]) -> Content:
    """All keys; those of the current screen come first."""
    groups = sorted(_GROUPS, key=lambda group: group[0] not in ("run", mode))
    lines: list[Content] = []
    for scope, title in groups:
        rows = [
            _row(keys.all_shown(key), key.help)
            for key in keymap.KEYS
            if key.scope == scope and offers(key)
        ]
        if rows:
            lines += [Content.styled(title, "bold $accent"), *rows, Content("")]
    lines.append(Content.styled("Mouse", "bold $accent"))
    lines += [_row(name, text) for name, text in _MOUSE]
    lines += [
        Content(""),
        Content.styled(
            'To change a key, set it in config.toml, for example  keys.pause = "f8"', "$faint"
        ),
    ]
    return Content("\n").join(lines)


def _row(keys: str, text: str) -> Content:
    return Content.assemble((f"{keys:>{_KEYS}}", "bold"), "  ", (text, "$faint"))
