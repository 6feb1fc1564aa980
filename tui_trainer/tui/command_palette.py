"""The command palette: what the keys do, by name, and every theme."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from textual.app import SystemCommand
from textual.screen import Screen

from tui_trainer.tui import keymap
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.keymap import Key

if TYPE_CHECKING:
    from tui_trainer.tui.app import TrainerApp


def system_commands(app: TrainerApp, screen: Screen[object]) -> Iterable[SystemCommand]:
    """The commands that make sense on `screen`."""
    place = screen.place if isinstance(screen, Page) else ""
    for key in keymap.keys_of(place):
        if app.offers(key) and key.id != "palette":
            title = f"{key.label} ({app.keymap.shown(key)})"
            yield SystemCommand(title, key.help, _runner(app, key))
    for name in app.themes.files:
        yield SystemCommand(f"theme {name}", "change the colours", _dresser(app, name))


def _runner(app: TrainerApp, key: Key) -> Callable[[], object]:
    return lambda: app.run_action(key.action)


def _dresser(app: TrainerApp, name: str) -> Callable[[], None]:
    def wear() -> None:
        app.theme = name

    return wear
