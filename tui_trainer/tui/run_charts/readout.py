"""The line under the charts: which run has which colour, and what is under the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.panel import Panel, stack

_GAP = "   "


@dataclass(frozen=True)
class ReadoutItem:
    """One thing said: a letter in a run's colour where it has one, a name and a value."""

    name: str
    value: str
    tag: str = ""
    colour: str = ""
    strong: bool = False


class Readout(Panel[tuple[ReadoutItem, ...]]):
    """Chips in as many lines as they take."""

    def __init__(self) -> None:
        super().__init__((), id="readout")

    def draw(self, facts: tuple[ReadoutItem, ...], width: int, height: int) -> Content:
        lines: list[list[Content]] = [[]]
        used = 0
        for chip in facts:
            content = _chip(chip)
            length = content.cell_length
            if lines[-1] and used + len(_GAP) + length > width:
                lines.append([])
                used = 0
            used += length + (len(_GAP) if lines[-1] else 0)
            lines[-1].append(content.truncate(width, ellipsis=True))
        return stack(*(Content(_GAP).join(line) for line in lines))


def _chip(chip: ReadoutItem) -> Content:
    tag = Content.assemble((f"{chip.tag} ", f"bold {chip.colour}".strip())) if chip.tag else ""
    name = plain(f"{chip.name} ", "bold" if chip.strong else "$faint") if chip.name else ""
    return Content.assemble(tag, name, plain(chip.value))
