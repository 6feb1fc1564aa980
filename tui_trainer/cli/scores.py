"""A classifier's scores and what was found in the data, as lines."""

from __future__ import annotations

from tui_trainer.cli import output
from tui_trainer.contracts.data import DataReport
from tui_trainer.contracts.evaluation import Evaluation, EvaluationFile

Lines = list[tuple[str, str]]
_MOST_COLUMNS = 10  # of a confusion matrix that is shown whole
_MOST_CONFUSIONS = 10


def lines(file: EvaluationFile | None) -> Lines:
    """Averages, every class, and what is taken for what."""
    if file is None:
        return []
    found = [_averages("newest", file.newest)]
    if file.best is not None:
        found.append(_averages("best", file.best))
    shown = file.best or file.newest
    for label in sorted(shown.classes, key=lambda item: (item.f1, item.label)):
        if label.support:
            words = (
                f"F1 {label.f1:.3f}  precision {label.precision:.3f}  recall {label.recall:.3f}  "
                f"of {label.support:,}"
            )
            found.append((output.escape(label.label), words))
    return [*found, *_confusion(shown, file.labels)]


def data_lines(report: DataReport | None) -> Lines:
    """Counts of what was found before training, without the zeros."""
    if report is None:
        return []
    repeats = report.repeats
    counts = {
        "training examples": report.train.examples,
        "validation examples": report.validation.examples,
        "tokens": report.train.tokens,
        "empty, left out": report.train.empty + report.validation.empty,
        "over-long, cut": report.train.cut + report.validation.cut,
        "without an answer, left out": report.train.unanswered + report.validation.unanswered,
        "said again": repeats.exact,
        "of these dropped": repeats.dropped,
        "almost the same": repeats.near or 0,
        "taken out of validation": repeats.removed,
        "texts with several labels": repeats.contradicting,
    }
    return [(name, f"{count:,}") for name, count in counts.items() if count]


def _averages(name: str, evaluation: Evaluation) -> tuple[str, str]:
    return name, (
        f"step {evaluation.step:,}  accuracy {evaluation.accuracy:.3f}  "
        f"macro F1 {evaluation.f1_macro:.3f}  precision {evaluation.precision_macro:.3f}  "
        f"recall {evaluation.recall_macro:.3f}"
    )


def _confusion(evaluation: Evaluation, labels: list[str]) -> Lines:
    """The matrix where it is small, else the commonest confusions."""
    matrix = evaluation.confusion
    if len(labels) <= _MOST_COLUMNS:
        width = max(len(str(count)) for row in matrix for count in row) + 1
        head = ("true \\ taken for", "".join(f"{i:>{width}}" for i in range(len(labels))))
        rows = [
            (f"{index} {output.escape(label)}", "".join(f"{count:>{width}}" for count in row))
            for index, (label, row) in enumerate(zip(labels, matrix, strict=True))
        ]
        return [head, *rows]
    wrong = [
        (count, labels[i], labels[j])
        for i, row in enumerate(matrix)
        for j, count in enumerate(row)
        if count and i != j
    ]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    return [
        (output.escape(true), f"{count:,} times taken for {output.escape(taken)}")
        for count, true, taken in wrong[:_MOST_CONFUSIONS]
    ]
