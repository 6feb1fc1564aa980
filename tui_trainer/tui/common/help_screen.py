"""The help: every key, grouped by screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.events import Resize
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
        self._lines = help_lines(mode, keys, offers)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -tall"):
            yield _HelpText(self._lines)


class _HelpText(Static):
    """Lines of keys and texts, wrapped beside the keys."""

    def __init__(self, lines: list[Content]) -> None:
        super().__init__(Content("\n").join(lines))
        self._lines = lines

    def on_resize(self, event: Resize) -> None:
        """Wrap the lines at the new width."""
        wrapped = [hanging(line, event.size.width) for line in self._lines]
        self.update(Content("\n").join(wrapped))


def help_lines(mode: str, keys: Keymap, offers: Callable[[Key], bool]) -> list[Content]:
    """All keys, a line each; those of the current screen come first."""
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
    return lines


def hanging(line: Content, width: int) -> Content:
    """A line wrapped so that its text continues below the text, not below the keys."""
    start = _KEYS + 2
    if line.cell_length <= width or not line.plain.startswith(" ") or width <= start:
        return line
    first, *rest = line[start:].wrap(width - start)
    indent = Content(" " * start)
    return Content("\n").join([line[:start] + first, *(indent + part for part in rest)])


def _row(keys: str, text: str) -> Content:
    return Content.assemble((f"{keys:>{_KEYS}}", "bold"), "  ", (text, "$faint"))
