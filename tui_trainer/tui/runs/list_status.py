"""One line about a list: count, progress of reading, filter, order."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.text import formats
from tui_trainer.tui.common.markup import meter, plain
from tui_trainer.tui.common.panel import Panel, spread
from tui_trainer.tui.runs.run_rows import COMMANDABLE, MARKED

_BAR = 16
_ROOMY = 100


@dataclass(frozen=True)
class ListStatus:
    """What the line shows; counts are of items of the list."""

    noun: str = "run"  # what an item is
    total: int = 0
    shown: int = 0  # that match the filter
    read: int = 0
    loading: bool = False
    marked: int = 0
    commandable: bool = False  # whether a shown item accepts commands
    order: str = ""
    filter: str = ""


class ListStatusLine(Panel[ListStatus]):
    """Counts on the left, the order on the right."""

    def __init__(self) -> None:
        super().__init__(ListStatus(), id="list-status")

    def draw(self, facts: ListStatus, width: int, height: int) -> Content:
        parts = [_counted(facts)]
        if facts.loading and facts.read < facts.total:
            bar = meter(facts.read / facts.total, _BAR)
            read = f"{formats.count(facts.read)} of {formats.count(facts.total)} read "
            parts.append(Content.assemble(read, bar))
        if facts.marked:
            parts.append(
                Content.styled(f"{MARKED} {formats.count(facts.marked)} marked", "$accent")
            )
        if facts.commandable and width >= _ROOMY:
            sign = (COMMANDABLE, "$success")
            parts.append(Content.assemble(sign, (" accepts commands", "$faint")))
        left = Content.styled("  ·  ", "$faint").join(parts)
        return spread(left, Content.styled(facts.order, "$faint"), width)


def _counted(facts: ListStatus) -> Content:
    total = formats.plural(facts.total, facts.noun)
    if not facts.filter:
        return Content(total)
    shown = f"{formats.count(facts.shown) if facts.shown else 'none'} of {total}"
    return Content.assemble(shown, ("  matching ", "$faint"), plain(facts.filter, "bold"))
