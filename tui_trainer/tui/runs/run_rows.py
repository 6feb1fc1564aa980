"""The list of runs as columns of text. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.evaluation.metrics import is_lower_better
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, duration, number
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import middle, shorten
from tui_trainer.watch.query import run_scores
from tui_trainer.watch.query.fields import BY_NAME
from tui_trainer.watch.snapshots import RunSummary
from tui_trainer.watch.unreadable_runs import UNREADABLE


@dataclass(frozen=True)
class RunColumn:
    """A column of a table."""

    id: str
    title: str
    width: int  # in cells
    rank: int = 0  # if room is short, the highest one is left out first; 0: never
    right: bool = True  # whether it is right-aligned
    field: str = ""  # the field by which the list is sorted under this heading


NAME = RunColumn("name", "name", 0, right=False, field="name")
COLUMNS: tuple[RunColumn, ...] = (
    RunColumn("status", "state", 10, right=False, field="status"),
    RunColumn("step", "step", 13, field="step"),
    RunColumn("loss", "loss", 7, field="loss"),
    RunColumn("trend", "trend", 7, rank=2, field="trend"),
    RunColumn("spark", "curve", 10, rank=5, right=False),
    RunColumn("best", "best", 7, rank=7, field="best"),
    RunColumn("val", "best val", 9, rank=6, field="val"),
    RunColumn("rate", "rate", 7, rank=9, field="lr"),
    RunColumn("epoch", "epoch", 7, rank=10, field="epoch"),
    RunColumn("speed", "tok/s", 7, rank=8, field="speed"),
    RunColumn("left", "ETA", 8, rank=3, field="eta"),
    RunColumn("age", "updated", 7, rank=1, field="age"),
    RunColumn("tool", "tool", 13, rank=4, right=False, field="tool"),
)
_SCORE = "score:"  # before the name of a score in the id of its column
_LEAST_SCORE, _MOST_SCORE = 7, 20
_AFTER = "loss"  # the column before those of scores
_NO_SCORES: Mapping[str, float] = MappingProxyType({})
# Cells before the name: the sign of a marked run, and of one that accepts commands.
SIGNS = 3
MARKED, COMMANDABLE = "●", "›"
_LEAST_NAME, _MOST_NAME = 16, 44
_LEAST_SPARK, _MOST_SPARK = 10, 24
_ROOMY = 100  # cells from which on columns are two cells apart
_FLAT = 0.005  # a relative change below this counts as none
_MOST_TREND = 9.99  # the largest that fits into its column
_LEVELS = {False: "▁▂▃▄▅▆▇█", True: "_.-=+*#@"}


@dataclass(frozen=True)
class ColumnLayout:
    """The shown columns, their widths, and the gap between them, in cells."""

    name: int
    columns: tuple[RunColumn, ...]
    spark: int
    gap: int

    def width(self, column: RunColumn) -> int:
        """The width of a column in cells."""
        return self.spark if column.id == "spark" else column.width

    def spans(self) -> list[tuple[RunColumn, int, int]]:
        """Each column with its first cell and its width, the name first."""
        spans = [(NAME, SIGNS, self.name)]
        at = SIGNS + self.name + self.gap
        for column in self.columns:
            spans.append((column, at, self.width(column)))
            at += self.width(column) + self.gap
        return spans

    def rest(self, index: int) -> tuple[int, int]:
        """The first cell of a column (0 is the name), and the width from there to the end."""
        spans = self.spans()
        (_, begin, _), (_, at, width) = spans[index], spans[-1]
        return begin, at + width - begin

    def column_at(self, x: int) -> RunColumn | None:
        """The column at a cell of the heading, or None."""
        for column, begin, width in self.spans():
            if begin <= x < begin + width + self.gap:
                return column
        return None


@dataclass(frozen=True)
class Sorting:
    """The order of the list: a column's id, or "" for the time at which runs started."""

    column: str = ""
    falling: bool = False

    def after(self, layout: ColumnLayout) -> Sorting:
        """The next column to sort by, wrapping around to the start time."""
        ids = ["", *(column.id for column in (*layout.columns, NAME) if column.field)]
        index = ids.index(self.column) if self.column in ids else 0
        return sorted_by(ids[(index + 1) % len(ids)])

    def reversed(self) -> Sorting:
        """The reverse order."""
        return Sorting(self.column, not self.falling)

    @property
    def field(self) -> str | None:
        """The field behind the column."""
        return _by_id(self.column).field if self.column else None

    @property
    def score(self) -> str | None:
        """The score behind the column; None for another field."""
        return self.column.removeprefix(_SCORE) if self.column.startswith(_SCORE) else None

    def text(self) -> str:
        """`newest first`, `by loss, lowest first`."""
        if not self.column:
            return "oldest first" if self.falling else "newest first"
        column = _by_id(self.column)
        if self.score is not None:
            return f"by {clean(self.score)}, {'highest' if self.falling else 'lowest'} first"
        if BY_NAME[column.field].number is None:
            return f"by {column.title}, {'Z to A' if self.falling else 'A to Z'}"
        return f"by {column.title}, {'highest' if self.falling else 'lowest'} first"


def sorted_by(column: str) -> Sorting:
    """Sorting by a column in its usual direction: lowest loss, most steps."""
    field = _by_id(column).field if column else ""
    if column.startswith(_SCORE):
        return Sorting(column, not is_lower_better(field))
    return Sorting(column, bool(field) and BY_NAME[field].descending)


def score_column(name: str, rank: int = 0) -> RunColumn:
    """The column of a score of the evaluations."""
    width = max(_LEAST_SCORE, min(_MOST_SCORE, len(name) + 1))
    return RunColumn(_SCORE + name, shorten(clean(name), width - 1), width, rank, field=name)


def layout_for(width: int, foreign: bool = False, scores: Sequence[str] = ()) -> ColumnLayout:
    """The columns that fit into `width` cells, with those of these scores; the tool only for runs
    of several tools."""
    gap = 2 if width >= _ROOMY else 1
    shown = [column for column in COLUMNS if foreign or column.id != "tool"]
    at = next(index for index, column in enumerate(shown, 1) if column.id == _AFTER)
    shown[at:at] = [score_column(name, min(index, 1)) for index, name in enumerate(scores)]
    while True:
        taken = SIGNS + sum(column.width + gap for column in shown)
        droppable = [column for column in shown if column.rank]
        room = width - taken
        if room >= _LEAST_NAME or not droppable:
            break
        shown.remove(max(droppable, key=lambda column: column.rank))
    name = max(_LEAST_NAME, min(room, _MOST_NAME))
    spark = max(_LEAST_SPARK, min(_MOST_SPARK, _LEAST_SPARK + room - name))
    return ColumnLayout(name, tuple(shown), spark, gap)


def cursor_index(paths: Sequence[Path], chosen: Path | None, index: int) -> int:
    """The index of the cursor: on its run, or the nearest index if that is gone."""
    for found, path in enumerate(paths):
        if path == chosen:
            return found
    return max(0, min(index, len(paths) - 1))


def cells_of(
    run: RunSummary,
    layout: ColumnLayout,
    now: float,
    plain: bool = False,
    scores: Mapping[str, float] = _NO_SCORES,
) -> tuple[tuple[str, str], ...]:
    """The text of the name and of each column, with the theme's colour ("" for none).

    The message about an unreadable run replaces the columns after the state; about one that is
    readable in part, those after the loss."""
    cells = [(middle(clean(run.name), layout.name), "")]
    last = "" if not run.problem else "status" if run.status == UNREADABLE else "loss"
    for index, column in enumerate(layout.columns, start=1):
        if column.id.startswith(_SCORE):
            text, colour = run_scores.text_of(column.field, scores), ""
        else:
            text, colour = _cell(run, column.id, now, layout.spark, plain)
        cells.append((shorten(text, layout.width(column)), colour))
        if column.id == last and index < len(layout.columns):
            room = layout.rest(index + 1)[1]
            cells.append((shorten(clean(run.problem), room), run_status.BAD))
            break
    return tuple(cells)


def last_update_text(updated_at: float | None, now: float) -> str:
    """The time since a run was written: `now`, `12 s`, `3 min`."""
    if updated_at is None:
        return formats.MISSING
    return "now" if now - updated_at < 2 else formats.age(now - updated_at)


def trend_text(trend: float | None) -> tuple[str, str]:
    """`↓3.1 %` and its colour: a falling loss is good. Above 999 % only that is shown."""
    if trend is None or not math.isfinite(trend):
        return formats.MISSING, run_status.FAINT
    size = abs(trend)
    text = formats.change(size).removeprefix("+") if size <= _MOST_TREND else ">999 %"
    if abs(trend) < _FLAT:
        return f"→{text}", run_status.FAINT
    return (f"↓{text}", run_status.GOOD) if trend < 0 else (f"↑{text}", run_status.BAD)


@lru_cache(maxsize=4096)
def spark_text(values: tuple[float, ...], width: int, plain: bool = False) -> str:
    """The values as `width` characters of eight heights, oldest first; `x` is not a number.

    More values than characters are thinned, keeping the newest; fewer are stretched.
    """
    if not values or width < 1:
        return ""
    apart = (len(values) - 1) / max(1, width - 1)
    picked = [values[round(column * apart)] for column in range(width)]
    known = [value for value in picked if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    levels = _LEVELS[plain]
    span = high / 2 - low / 2  # halves, so that the largest numbers do not overflow
    drawn = []
    for value in picked:
        share = (value / 2 - low / 2) / span if span > 0 else 0.0
        drawn.append(levels[min(7, int(share * 8))] if math.isfinite(value) else "x")
    return "".join(drawn)


def _by_id(id: str) -> RunColumn:
    if id.startswith(_SCORE):
        return score_column(id.removeprefix(_SCORE))
    return next(column for column in (NAME, *COLUMNS) if column.id == id)


def _cell(run: RunSummary, id: str, now: float, spark: int, plain: bool) -> tuple[str, str]:
    if id == "status":
        status = run.shown_status
        # The usual label is too long for the column.
        text = "early stop" if status == "early_stopped" else run_status.label(status)
        return text, run_status.colour(status)
    if id == "trend":
        return trend_text(run.trend)
    if id == "spark":
        return spark_text(run.spark, spark, plain), run_status.ACCENT
    if id == "tool":
        return clean(run.tool), run_status.FAINT
    return _number_text(run, id, now), ""


def _number_text(run: RunSummary, id: str, now: float) -> str:
    if id == "step":
        return _step(run)
    if id == "left":
        return duration(run.eta_seconds) if run.status in ACTIVE_STATES else formats.MISSING
    if id == "age":
        return last_update_text(run.updated_at, now)
    if id == "rate":
        return formats.rate(run.learning_rate)
    values = {
        "loss": run.loss,
        "best": run.best_loss,
        "val": run.best_val_loss,
        "speed": run.tokens_per_second or None,
        "epoch": run.epoch,
    }
    return number(values[id])


def _step(run: RunSummary) -> str:
    if run.step is None:
        return formats.MISSING
    text = formats.steps(run.step, run.total_steps)
    if len(text) > 13:
        text = number(run.step) + (f" / {number(run.total_steps)}" if run.total_steps else "")
    return text
