"""The comparison of runs as a table of text. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from tui_trainer.store.runs.evaluation_files import FoundScores, unreadable_text
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import beside, middle, plain, shorten, wrapped
from tui_trainer.tui.runs.run_rows import spark_text, trend_text
from tui_trainer.watch.runs.details.evaluation_diff import (
    EvaluationDiff,
    SharedEvaluation,
    compare_evaluations,
)
from tui_trainer.watch.runs.details.run_diff import (
    ConfigDifference,
    ResultRow,
    RunDiff,
    compare_runs,
)
from tui_trainer.watch.snapshots import RunSummary, RunView

BEST = "◆"
_LEAST_CELL = 13
_MOST_CELL = 34
_LABEL = 28
_LEAST_LABEL = 14


@dataclass(frozen=True)
class CompareTable:
    """Widths in cells of the label and of a run's column, and the number of runs side by side."""

    label: int
    cell: int
    across: int


def grid_for(width: int, runs: int, labels: Sequence[str]) -> CompareTable:
    """The layout for `width` cells; runs that do not fit side by side follow below."""
    label = min(_LABEL, max((len(text) for text in labels), default=0) + 1, max(1, width // 3))
    label = max(label, _LEAST_LABEL)
    across = max(1, min(runs, (width - label) // _LEAST_CELL))
    bands = -(-runs // across)
    across = -(-runs // bands)  # bands of equal length
    return CompareTable(label, min(_MOST_CELL, (width - label) // across), across)


def contrast_text(
    views: Sequence[RunView],
    letters: Sequence[str],
    width: int,
    scores: Sequence[FoundScores] = (),
) -> Content:
    """The whole comparison, at most `width` cells wide; `scores` are those of the runs'
    evaluations, none while they are not read."""
    found = compare_runs(views)
    evaluations = compare_evaluations([one.scores for one in scores])
    results = [*found.results, *(row for one in evaluations.shared for row in one.results)]
    labels = [item.key for item in found.differing] + [item.name for item in results]
    grid = grid_for(width, len(views), labels)
    lines: list[Content] = []
    for begin in range(0, len(views), grid.across):
        indices = range(begin, min(begin + grid.across, len(views)))
        if lines:
            lines.append(Content(""))
        lines += _band(views, letters, found, evaluations, indices, grid)
    lines += _apart(evaluations, letters, width)
    lines += [Content(""), _footnote(found)]
    warnings = [
        f"{letter}: {unreadable_text(one.unreadable)}"
        for letter, one in zip(letters, scores, strict=False)
        if one.unreadable
    ]
    for text, style in (
        *((note, "$faint") for note in evaluations.notes(letters)),
        *((warning, "$warning") for warning in warnings),
    ):
        lines += wrapped(plain(text, style), width)
    return Content("\n").join(lines)


def _band(
    views: Sequence[RunView],
    letters: Sequence[str],
    found: RunDiff,
    evaluations: EvaluationDiff,
    indices: range,
    grid: CompareTable,
) -> list[Content]:
    chosen = [views[index].summary for index in indices]
    lines = _heading(chosen, [letters[index] for index in indices], grid)
    lines += [Content(""), Content.styled("results", "bold $accent")]
    lines += [_measure(measure, indices, grid) for measure in found.results]
    for shared in evaluations.shared:
        lines += _evaluation(shared, indices, grid)
    lines += [Content(""), Content.styled("settings that differ", "bold $accent")]
    lines += [_differing(item, indices, grid) for item in found.differing]
    if not found.differing:
        lines.append(Content.styled("none of the recorded settings", "$faint"))
    return lines


def _evaluation(shared: SharedEvaluation, indices: range, grid: CompareTable) -> list[Content]:
    """The evaluations on the same rows, where one of these runs has one."""
    if all(shared.runs[index] is None for index in indices):
        return []
    width = grid.label + grid.cell * len(indices)
    title = f"evaluated on {shared.first.title}"
    return [
        Content(""),
        plain(title, "bold $accent").truncate(width, ellipsis=True),
        *(_measure(measure, indices, grid) for measure in shared.results),
    ]


def _apart(found: EvaluationDiff, letters: Sequence[str], width: int) -> list[Content]:
    """The evaluations that are not compared, with the reason."""
    lines: list[Content] = []
    for sentence, apart in found.apart(letters):
        lines += [Content(""), *wrapped(plain(sentence, "bold"), width)]
        for text in apart:
            lines += beside(Content("  "), plain(text), width)
    return lines


def _heading(
    runs: Sequence[RunSummary], letters: Sequence[str], grid: CompareTable
) -> list[Content]:
    rows: list[list[tuple[str, str]]] = [
        [
            (f"{letter} {middle(clean(run.name), grid.cell - 4)}", "bold")
            for run, letter in zip(runs, letters, strict=True)
        ],
        [(run_status.label(run.shown_status), run_status.colour(run.shown_status)) for run in runs],
    ]
    if any(run.tool != runs[0].tool or run.tool != "tui-trainer" for run in runs):
        rows.append([(clean(run.tool), run_status.FAINT) for run in runs])
    curve = min(24, grid.cell - 4)
    rows.append(
        [(spark_text(run.spark, curve) or formats.MISSING, run_status.ACCENT) for run in runs]
    )
    rows.append([trend_text(run.trend) for run in runs])
    titles = ["", "state", "tool", "curve", "trend"]
    if len(rows) == 4:
        titles.remove("tool")
    return [
        _line(
            title,
            [_cell(f"  {text}" if title else text, grid.cell, style) for text, style in row],
            grid,
        )
        for title, row in zip(titles, rows, strict=True)
    ]


def _measure(measure: ResultRow, indices: range, grid: CompareTable) -> Content:
    cells = []
    for index in indices:
        best = index in measure.best
        # The sign comes first, so that a narrow column does not cut it off.
        text = f"{BEST if best else ' '} {measure.text(index)}"
        cells.append(_cell(text, grid.cell, "bold $success" if best else ""))
    return _line(measure.name, cells, grid)


def _differing(item: ConfigDifference, indices: range, grid: CompareTable) -> Content:
    cells = []
    for index in indices:
        value = item.values[index]
        style = "$faint" if value is None else ""
        cells.append(
            _cell(f"  {formats.MISSING if value is None else clean(value)}", grid.cell, style)
        )
    return _line(item.key, cells, grid)


def _footnote(found: RunDiff) -> Content:
    parts = [f"{BEST} best value"]
    if found.same:
        settings = formats.plural(found.same, "setting is", "settings are")
        parts.append(f"{settings} the same in every run")
    return Content.styled("  ·  ".join(parts), "$faint")


def _line(title: str, cells: Sequence[Content], grid: CompareTable) -> Content:
    return Content.assemble(_cell(clean(title), grid.label, "$faint"), *cells)


def _cell(text: str, width: int, style: str = "") -> Content:
    text = shorten(text, width - 1)
    return Content.styled(text, style).truncate(width, ellipsis=True, pad=True)
