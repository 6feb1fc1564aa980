"""The line below the charts: the colours of the runs, and the values at the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.panel import Panel, stack

_GAP = "   "


@dataclass(frozen=True)
class ReadoutItem:
    """A name and a value, with the letter in its colour if it belongs to a run."""

    name: str
    value: str
    tag: str = ""
    colour: str = ""
    strong: bool = False


class Readout(Panel[tuple[ReadoutItem, ...]]):
    """Shows the items in as many lines as they need."""

    def __init__(self) -> None:
        super().__init__((), id="readout")

    def draw(self, facts: tuple[ReadoutItem, ...], width: int, height: int) -> Content:
        lines: list[list[Content]] = [[]]
        used = 0
        for item in facts:
            content = _item_text(item)
            length = content.cell_length
            if lines[-1] and used + len(_GAP) + length > width:
                lines.append([])
                used = 0
            used += length + (len(_GAP) if lines[-1] else 0)
            lines[-1].append(content.truncate(width, ellipsis=True))
        return stack(*(Content(_GAP).join(line) for line in lines))


def _item_text(item: ReadoutItem) -> Content:
    tag = Content.assemble((f"{item.tag} ", f"bold {item.colour}".strip())) if item.tag else ""
    name = plain(f"{item.name} ", "bold" if item.strong else "$faint") if item.name else ""
    return Content.assemble(tag, name, plain(item.value))
