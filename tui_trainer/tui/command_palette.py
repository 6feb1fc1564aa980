"""The commands of the palette: the actions of the keys, and every theme."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from textual.app import App, SystemCommand
from textual.screen import Screen

from tui_trainer.tui import keymap
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.session import session_of
from tui_trainer.tui.keymap import Key


def system_commands(app: App[int], screen: Screen[object]) -> Iterable[SystemCommand]:
    """The commands that are available on `screen`."""
    session = session_of(app)
    mode = screen.mode_name if isinstance(screen, Page) else ""
    for key in keymap.keys_of(mode):
        if session.offers(key) and key.id != "palette":
            title = f"{key.label} ({session.keymap.shown(key)})"
            yield SystemCommand(title, key.help, _runner(app, key))
    for name in session.themes.files:
        yield SystemCommand(f"theme {name}", "use this colour theme", _theme_setter(app, name))


def _runner(app: App[int], key: Key) -> Callable[[], object]:
    return lambda: app.run_action(key.action)


def _theme_setter(app: App[int], name: str) -> Callable[[], None]:
    def set_theme() -> None:
        app.theme = name

    return set_theme
