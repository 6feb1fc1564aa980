"""The bottom line: the keys of this screen, as many as fit."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content
from textual.style import Style

from tui_trainer.tui.common.panel import Panel


@dataclass(frozen=True)
class Hint:
    """A key as shown, its label and the action that a click on it runs.

    Where the line is narrow, hints with a small `rank` are kept and the others dropped.
    """

    key: str
    label: str
    action: str
    rank: int


class KeyBar(Panel[tuple[Hint, ...]]):
    """Hints can be clicked."""

    auto_links = False

    def __init__(self) -> None:
        super().__init__((), id="key-bar")

    def draw(self, facts: tuple[Hint, ...], width: int, height: int) -> Content:
        hints = (self._hint(hint) for hint in fitting(facts, width - 2))
        return Content.assemble(" ", Content("  ").join(hints))

    def _hint(self, hint: Hint) -> Content:
        text = Content.assemble((hint.key, "bold $accent"), " ", (hint.label, "$faint"))
        # Markup cannot hold an action with a negative number.
        return text.stylize(Style.from_meta({"@click": hint.action}))


def fitting(hints: tuple[Hint, ...], width: int) -> list[Hint]:
    """The most important hints that fit into `width` cells, in their own order."""
    chosen: set[Hint] = set()
    used = 0
    for hint in sorted(hints, key=lambda h: h.rank):
        used += len(hint.key) + len(hint.label) + 3
        if used - 2 > width:
            break
        chosen.add(hint)
    return [hint for hint in hints if hint in chosen]
