"""The top line: the tabs of the screens, and the shown run with its state."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.panel import Panel, spread


@dataclass(frozen=True)
class TopBarState:
    """The content of the top line."""

    tabs: tuple[tuple[str, str, str], ...] = ()  # key, title, screen
    current: str = ""  # the current screen
    run: str = ""  # name of the shown run
    status: str = ""  # of the shown run


class TopBar(Panel[TopBarState]):
    """Tabs can be clicked; the current one is highlighted."""

    auto_links = False

    def __init__(self) -> None:
        super().__init__(TopBarState(), id="top-bar")

    def draw(self, facts: TopBarState, width: int, height: int) -> Content:
        title = Content.styled(" tui-trainer ", "bold $accent")
        tabs = [self._tab(facts, *tab) for tab in facts.tabs]
        left = Content.assemble(title, " ", *tabs)
        if not facts.run:
            return left
        name = plain(facts.run, "bold").truncate(max(8, width // 3), ellipsis=True)
        status = Content.assemble((" · ", "$faint"), run_status.badge(facts.status), " ")
        if left.cell_length + name.cell_length + status.cell_length >= width:
            left = Content.assemble(*tabs)
            room = width - left.cell_length - status.cell_length - 1
            name = name.truncate(max(8, room), ellipsis=True)
        return spread(left, name + status, width)

    def _tab(self, facts: TopBarState, key: str, title: str, screen: str) -> Content:
        current = screen == facts.current
        style = "bold $text on $surface" if current else "$faint"
        key_style = "$accent" if current else "$text"
        if current and self.app.no_color:
            style, key_style = f"reverse {style}", "$text"
        action = f"@click=app.show('{screen}')"
        return Content.from_markup(
            f"[{style}][{action}] [{key_style}]$key[/] $title [/][/]",
            key=key,
            title=title,
        )
