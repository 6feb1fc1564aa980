"""The page of a run's data report, and a classifier's scores by class in training. No I/O."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.contracts.runs.data_report import DataReport
from tui_trainer.contracts.runs.metrics import Evaluation
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.runs.details_pages import fact, not_recorded, page
from tui_trainer.watch.runs.details import evaluation_lines
from tui_trainer.watch.runs.details.run_details import RunDetails

_NAME = 30  # columns of a class's name, at most
_GAP = 2
_MOST_CONFUSIONS = 30


def data(known: RunDetails, width: int) -> Content:
    """The counts found in the data before training, and the examples of each class."""
    report = known.data
    if report is None:
        return not_recorded(known, "data report")
    lines = [fact(name, count, width) for name, count in evaluation_lines.data_lines(report)]
    if report.repeats.method:
        lines.append(fact("near-duplicate method", report.repeats.method, width))
    return page([*lines, *_shares(report, width)])


def classes(known: RunDetails, width: int) -> Content:
    """Averages, every class (lowest F1 first), and the confusions."""
    file = known.evaluation
    if file is None:
        if known.view.config.get("task") == "classification":
            return Content.styled("no classes yet: they come with the first evaluation", "$faint")
        return Content.styled("no classes: only classification runs have them", "$faint")
    shown = file.best or file.newest
    which = "the best evaluation" if file.best is not None else "the newest evaluation"
    lines = [
        Content.styled(f"{which}, step {formats.count(shown.step)}", "bold $accent"),
        *_averages(shown),
    ]
    wide = _columns(file.labels, width)
    title = f"{'class':<{wide}}     F1  precision  recall  examples"
    lines += [Content(""), Content.styled(title, "$faint")]
    for item in evaluation_lines.worst_first(shown):
        figures = f"  {item.f1:>5.3f}  {item.precision:>9.3f}  {item.recall:>6.3f}"
        lines.append(
            Content(f"{_name(item.label, wide)}{figures}  {formats.count(item.support):>8}")
        )
    return page([*lines, Content(""), *_confusion(shown, file.labels, width)])


def _averages(shown: Evaluation) -> list[Content]:
    figures = (
        ("accuracy", shown.accuracy),
        ("macro F1", shown.f1_macro),
        ("macro precision", shown.precision_macro),
        ("macro recall", shown.recall_macro),
    )
    return [
        Content.assemble((f"{name:<16}", "$faint"), formats.score(value)) for name, value in figures
    ]


def _confusion(shown: Evaluation, labels: list[str], width: int) -> list[Content]:
    """The confusion matrix if it fits, else the most frequent confusions."""
    wide = _columns(labels, width)
    cell = max(len(formats.count(count)) for row in shown.confusion for count in row)
    cell = max(cell, len(str(len(labels)))) + _GAP
    if wide + 4 + cell * len(labels) <= width:
        head = "".join(f"{number:>{cell}}" for number in range(1, len(labels) + 1))
        lines = [Content.styled(f"{'true class ↓ predicted →':<{wide + 4}}{head}", "$faint")]
        for at, (label, row) in enumerate(zip(labels, shown.confusion, strict=True)):
            parts: list[str | tuple[str, str]] = [f"{at + 1:>3} {_name(label, wide)}"]
            for other, count in enumerate(row):
                style = "$faint" if not count else "bold" if other == at else "$warning"
                parts.append((f"{formats.count(count):>{cell}}", style))
            lines.append(Content.assemble(*parts))
        return lines
    found = evaluation_lines.confusions(shown, labels)
    lines = [Content.styled("most frequent confusions", "$faint")]
    for count, true, taken in found[:_MOST_CONFUSIONS]:
        text = f"{formats.count(count):>8}  {clean(true)} predicted as {clean(taken)}"
        lines.append(Content(text).truncate(width, ellipsis=True))
    return lines if found else [Content("no validation example was classified wrongly")]


def _shares(report: DataReport, width: int) -> list[Content]:
    """Examples by class, with the weights and copies that balance them."""
    if not report.labels:
        return []
    wide = _columns([item.label for item in report.labels], width)
    title = f"{'class':<{wide}}  training  validation  weight  repeated"
    lines = [Content(""), Content.styled(title, "$faint")]
    for item in sorted(report.labels, key=lambda item: (item.train, item.label)):
        train, validation = formats.count(item.train), formats.count(item.validation)
        figures = f"  {train:>8}  {validation:>10}  {item.weight:>6.2f}"
        copies = formats.short_number(item.copies)
        lines.append(Content(f"{_name(item.label, wide)}{figures}  {copies:>7}×"))
    return lines


def _columns(labels: list[str], width: int) -> int:
    """The width in cells of the class names."""
    longest = max(len(clean(label)) for label in labels)
    return max(12, min(longest, _NAME, width - 40))


def _name(label: str, wide: int) -> str:
    text = clean(label)
    return f"{text if len(text) <= wide else text[: wide - 1] + '…':<{wide}}"
