"""One line about the list of runs: count, progress of reading, filter, order."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.tui.common.markup import meter, plain
from tui_trainer.tui.common.panel import Panel, spread
from tui_trainer.tui.runs.run_rows import MARKED, STEERED

_BAR = 16
_ROOMY = 100


@dataclass(frozen=True)
class ListStatus:
    """Counts of runs (`read` of `runs` are read), the order and the filter as text."""

    runs: int = 0
    shown: int = 0
    read: int = 0
    loading: bool = False
    marked: int = 0
    steered: bool = False
    order: str = ""
    asked: str = ""


class ListStatusLine(Panel[ListStatus]):
    """Counts on the left, the order on the right."""

    def __init__(self) -> None:
        super().__init__(ListStatus(), id="list-status")

    def draw(self, facts: ListStatus, width: int, height: int) -> Content:
        parts = [_counted(facts)]
        if facts.loading and facts.read < facts.runs:
            bar = meter(facts.read / facts.runs, _BAR)
            parts.append(Content.assemble(f"{facts.read:,} of {facts.runs:,} read ", bar))
        if facts.marked:
            marked = (f"{MARKED} {facts.marked} marked", "$accent")
            parts.append(Content.assemble(marked))
        if facts.steered and width >= _ROOMY:
            parts.append(Content.assemble((STEERED, "$success"), (" accepts commands", "$faint")))
        left = Content.styled("  ·  ", "$faint").join(parts)
        return spread(left, Content.styled(facts.order, "$faint"), width)


def _counted(facts: ListStatus) -> Content:
    noun = "run" if facts.runs == 1 else "runs"
    if not facts.asked:
        return Content(f"{facts.runs:,} {noun}")
    count = f"{facts.shown:,}" if facts.shown else "none"
    shown = f"{count} of {facts.runs:,} {noun}"
    return Content.assemble(shown, ("  matching ", "$faint"), plain(facts.asked, "bold"))
