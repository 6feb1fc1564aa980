"""The list of runs as rows of words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.tui import states
from tui_trainer.tui.charts.text import clean, duration, number
from tui_trainer.tui.text import age_text, count_text, shorten
from tui_trainer.watch.view import RunSummary


@dataclass(frozen=True)
class Column:
    """A column: `width` in cells; `rank` says how early it goes where there is no room."""

    id: str
    title: str
    width: int
    rank: int = 0
    right: bool = True


COLUMNS: tuple[Column, ...] = (
    Column("status", "state", 13, right=False),
    Column("step", "step", 13),
    Column("loss", "loss", 7),
    Column("best", "best val", 9, rank=2),
    Column("speed", "tok/s", 9, rank=3),
    Column("left", "left", 8, rank=1),
    Column("age", "updated", 7),
)
_LEAST_NAME = 18
_GAP = 2


@dataclass(frozen=True)
class Row:
    """One run in words; `status` also gives the colour."""

    path: Path
    name: str
    status: str
    cells: tuple[tuple[str, str], ...]

    def cell(self, column: str) -> str:
        """The words of one column."""
        return dict(self.cells)[column]


def columns_for(width: int) -> tuple[int, tuple[Column, ...]]:
    """The width of the name and the columns that fit into `width` cells beside it."""
    shown = list(COLUMNS)
    while True:
        room = width - sum(column.width + _GAP for column in shown) - _GAP
        droppable = [column for column in shown if column.rank]
        if room >= _LEAST_NAME or not droppable:
            return max(_LEAST_NAME, min(room, 60)), tuple(shown)
        shown.remove(max(droppable, key=lambda column: column.rank))


def rows_of(runs: Iterable[RunSummary], text: str, now: float) -> tuple[Row, ...]:
    """The rows of the runs whose name or state contains every word of `text`."""
    words = text.lower().split()
    return tuple(_row(run, now) for run in runs if _matches(run, words))


def keep_place(rows: Sequence[Row], chosen: Path | None, index: int) -> int:
    """Where the cursor belongs: on the run it was on, or else as near as there is one."""
    for place, row in enumerate(rows):
        if row.path == chosen:
            return place
    return max(0, min(index, len(rows) - 1))


def _matches(run: RunSummary, words: list[str]) -> bool:
    text = f"{run.name} {states.word(run.status)} {run.status}".lower()
    return all(word in text for word in words)


def _age(updated_at: float | None, now: float) -> str:
    if updated_at is None:
        return "–"
    return "now" if now - updated_at < 2 else age_text(now - updated_at)


def _row(run: RunSummary, now: float) -> Row:
    total = f" / {count_text(run.total_steps)}" if run.total_steps else ""
    live = run.status in ACTIVE_STATES
    cells = {
        "status": states.word(run.status),
        "step": "–" if run.step is None else f"{count_text(run.step)}{total}",
        "loss": number(run.loss),
        "best": number(run.best_val_loss),
        "speed": count_text(run.tokens_per_second) if run.tokens_per_second else "–",
        "left": duration(run.eta_seconds) if live else "–",
        "age": _age(run.updated_at, now),
    }
    return Row(run.path, shorten(clean(run.name), 60), run.status, tuple(cells.items()))
