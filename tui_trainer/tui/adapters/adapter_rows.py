"""The adapters as rows of text, and the details of one. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from textual.content import Content

from tui_trainer.repl.adapter_facts import cells_of, facts_of
from tui_trainer.store.adapters.adapter_store import AdapterEntry, TrashedAdapter
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.markup import beside, plain, shorten
from tui_trainer.tui.common.panel import stack
from tui_trainer.tui.runs.run_rows import RunColumn

COLUMNS: tuple[RunColumn, ...] = (
    RunColumn("live", "active", 6, right=False),
    RunColumn("task", "task", 14, rank=9, right=False),
    RunColumn("base", "base", 10, rank=7, right=False),
    RunColumn("rank", "rank/α", 7, rank=8),
    RunColumn("loss", "loss", 7, rank=4),
    RunColumn("val", "val loss", 8, rank=6),
    RunColumn("recalled", "recalled", 8),
    RunColumn("kept", "kept", 6),
    RunColumn("created", "created", 16, rank=2),
    RunColumn("size", "size", 8, rank=3),
    RunColumn("taught", "examples", 8, rank=1),
    RunColumn("queries", "queries", 7, rank=1),
    RunColumn("tags", "tags", 16, rank=5, right=False),
)
_LEAST_NAME = 20
_GAP = 2
_LEAST_VALUE = 8  # cells beside a label
_LISTS = frozenset({"learned", "layers"})  # may have hundreds of entries
_MOST_LINES = 8  # of a list


@dataclass(frozen=True)
class AdapterListing:
    """The store's content: adapters, (name, weight) of the active ones, and deleted ones."""

    items: tuple[AdapterEntry, ...] = ()
    live: tuple[tuple[str, float], ...] = ()
    trash: tuple[TrashedAdapter, ...] = ()
    problem: str | None = None
    loading: bool = False

    def weight(self, name: str) -> float | None:
        """The weight of an active adapter; None for an inactive one."""
        return dict(self.live).get(name)


@dataclass(frozen=True)
class AdapterRow:
    """One adapter as text by column."""

    name: str
    live: bool
    marked: bool
    cells: tuple[tuple[str, str], ...]

    @property
    def shown(self) -> str:
        """The name with its mark before it."""
        return f"{'●' if self.marked else ' '} {self.name}"

    def cell(self, column: str) -> str:
        """The text of one column."""
        return dict(self.cells)[column]


def columns_for(width: int) -> tuple[int, tuple[RunColumn, ...]]:
    """The width of the name and the columns that fit into `width` cells beside it."""
    shown = list(COLUMNS)
    while True:
        room = width - sum(column.width + _GAP for column in shown) - _GAP
        droppable = [column for column in shown if column.rank]
        if room >= _LEAST_NAME or not droppable:
            return max(_LEAST_NAME, min(room, 60)), tuple(shown)
        shown.remove(max(droppable, key=lambda column: column.rank))


def rows_of(listing: AdapterListing, marked: Iterable[str]) -> tuple[AdapterRow, ...]:
    """A row for each adapter, the newest first."""
    chosen = set(marked)
    return tuple(_row(item, listing, item.info.name in chosen) for item in reversed(listing.items))


def details_of(item: AdapterEntry, listing: AdapterListing, problem: str, width: int) -> Content:
    """Everything about one adapter, as aligned lines; `problem` is why it cannot be used."""
    facts = [("problem", problem), *facts_of(item, listing.weight(item.info.name))]
    label_width = max(len(label) for label, _ in facts) + 1
    lines = [Content.styled(clean(item.info.name), "bold")]
    for label, text in facts:
        head = Content.styled(f"{label:<{label_width}}", "$faint")
        drawn = beside(head, plain(text), max(width, label_width + _LEAST_VALUE))
        if label in _LISTS and len(drawn) > _MOST_LINES:
            more = formats.plural(len(drawn) - _MOST_LINES + 1, "more line")
            drawn[_MOST_LINES - 1 :] = [Content(" " * label_width) + Content(f"… {more}")]
        lines += drawn
    return stack(*lines)


def trash_lines(trash: Sequence[TrashedAdapter]) -> list[Content]:
    """A line for each deleted adapter."""
    return [
        Content.assemble(
            clean(item.name), ("  deleted ", "$faint"), formats.moment(item.deleted_at)
        )
        for item in trash
    ]


def _row(item: AdapterEntry, listing: AdapterListing, marked: bool) -> AdapterRow:
    weight = listing.weight(item.info.name)
    cells = cells_of(item, weight)
    cells["live"] = "" if weight is None else f"● {cells['live']}"
    cells["base"] = shorten(clean(item.info.base_model.rstrip("/").rpartition("/")[2]), 10)
    return AdapterRow(clean(item.info.name), weight is not None, marked, tuple(cells.items()))
