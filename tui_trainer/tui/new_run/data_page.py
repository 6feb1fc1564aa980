"""A look at a job's data as contents and a chart. No I/O."""

from __future__ import annotations

import numpy as np
from rich.cells import cell_len
from textual.content import Content

from tui_trainer.contracts.data_inspection import DataInspection, InspectedRow, TextPiece
from tui_trainer.launch import inspection_text
from tui_trainer.text import formats
from tui_trainer.tui.charts.model import ChartLine, ChartSpec
from tui_trainer.tui.common.markup import beside, plain, shorten, wrapped

LEARNED, SPECIAL = "bold $success", "$faint"
_POINTS = 1_000  # of the histogram's outline
_MOST_CLASSES = 20  # that are listed
_GAP = 2


def summary(found: DataInspection, width: int) -> Content:
    """Counts, what is left out and why, and the classes."""
    lines: list[Content] = []
    facts = inspection_text.facts(found)
    label = max(cell_len(name) for name, _ in facts) + _GAP
    for name, value in facts:
        head = Content.styled(name.ljust(label), "$faint")
        lines += beside(head, plain(value), width)
    notices = inspection_text.notices(found)
    if notices:
        lines += [Content(""), Content.styled("left out, changed, or worth a look", "bold $accent")]
        bullet = Content.styled("- ", "$faint")
        for text in notices:
            lines += beside(bullet, plain(text, "$warning"), width)
    if found.report.labels:
        lines += [Content(""), *_classes(found, width)]
    return Content("\n").join(lines)


def _classes(found: DataInspection, width: int) -> list[Content]:
    """The largest classes with their examples, in as many columns as fit."""
    labels = sorted(found.report.labels, key=lambda label: -label.train)
    shown = labels[:_MOST_CLASSES]
    title = f"{formats.plural(len(labels), 'class', 'classes')}: training, validation examples"
    cells = []
    name = max(min(cell_len(formats.clean(one.label)), width - 16) for one in shown)
    counts = max(len(formats.count(one.train)) for one in shown)
    held = max(len(formats.count(one.validation)) for one in shown)
    for one in shown:
        text = plain(shorten(formats.clean(one.label), name)).truncate(name, pad=True)
        number = f"  {formats.count(one.train):>{counts}}  {formats.count(one.validation):>{held}}"
        cells.append(Content.assemble(text, (number, "$faint")))
    across = max(1, (width + 4) // (cells[0].cell_length + 4))
    rows = -(-len(cells) // across)
    lines = [Content.styled(title, "bold $accent")]
    lines += [Content("    ").join(cells[at::rows]) for at in range(rows)]
    more = len(labels) - len(shown)
    if more:
        others = f"and {formats.plural(more, 'smaller class', 'smaller classes')}"
        lines.append(Content.styled(others, "$faint"))
    return lines


def length_chart(found: DataInspection) -> ChartSpec:
    """The histogram of the lengths; what is beyond the limit is faint, and a line marks it."""
    first, last = found.lengths[0], found.lengths[-1]
    width = first.last - first.first + 1
    low, high = first.first - 1, last.first - 1 + width  # the last bin may be wider
    x = np.linspace(low, high, _POINTS)
    at = np.minimum(((x - low) // width).astype(np.intp), len(found.lengths) - 1)
    heights = np.array([one.examples for one in found.lengths], dtype=np.float64)[at]
    limit = found.max_length if found.too_long else None
    within = x <= (high if limit is None else limit)
    lines = [_bars(x[within], heights[within], 0)]
    if not within.all():
        lines.append(_bars(x[~within], heights[~within], 1))
    detail = f"median {formats.count(found.median)}, longest {formats.count(found.longest)}"
    if limit is not None:
        detail += f", {formats.count(found.too_long)} over {formats.count(limit)} (│)"
    if last.last > high:
        detail += f"; the last bar: {inspection_text.range_of(last)}"
    return ChartSpec(
        title="training examples by tokens",
        detail=detail,
        lines=tuple(lines),
        x_label="tokens",
        robust=False,
        legend=False,
        x_range=(float(low), float(high)),
        y_range=(0.0, float(heights.max()) * 1.05 or 1.0),
        cursor_x=None if limit is None else float(limit),
    )


def _bars(x: np.ndarray, heights: np.ndarray, colour: int) -> ChartLine:
    low = np.where(heights > 0, 0.0, np.nan)
    return ChartLine(x, low, colour=colour, top=np.where(heights > 0, heights, np.nan))


def row_head(row: InspectedRow, number: int, count: int, width: int) -> Content:
    """Which row is shown, where it comes from, and its counts."""
    title = Content.styled(f"row {number} of {count}  ", "bold $accent")
    lines = beside(title, plain(inspection_text.heading(row)), width)
    if row.label is not None:
        lines += beside(Content.styled("class  ", "$faint"), plain(row.label, "bold"), width)
    return Content("\n").join(lines)


def row_text(row: InspectedRow, width: int, marks: tuple[str, str] | None) -> Content:
    """The row as the model sees it, the learned tokens in colour; with `marks` also between
    them, for terminals without colours."""
    text, learned = Content(""), False
    for piece in inspection_text.spans(row):
        if marks is not None and piece.learned != learned:
            text += Content(marks[0] if piece.learned else marks[1])
            learned = piece.learned
        text += _piece(piece)
    if marks is not None and learned:
        text += Content(marks[1])
    lines = [line for part in text.split("\n", allow_blank=True) for line in wrapped(part, width)]
    return Content("\n").join(lines)


def _piece(piece: TextPiece) -> Content:
    style = LEARNED if piece.learned else SPECIAL if piece.special else ""
    return Content("\n").join([plain(line, style) for line in piece.text.split("\n")])


def legend(task: str, marks: tuple[str, str] | None) -> Content:
    """What the colours mean."""
    if task == "classification":
        return Content.styled("no token is learned: the class is", "$faint")
    word = "learned" if marks is None else f"{marks[0]}learned{marks[1]}"
    return Content.assemble(
        (word, LEARNED), (" tokens count in the loss; the others are only read", "$faint")
    )
