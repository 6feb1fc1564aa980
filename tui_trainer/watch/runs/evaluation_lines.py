"""A classifier's scores and what was found in the data, as lines. Names are as in the data: who
shows them cleans them."""

from __future__ import annotations

from tui_trainer.contracts.data import DataReport
from tui_trainer.contracts.evaluation import ClassScore, Evaluation, EvaluationFile

Lines = list[tuple[str, str]]
MOST_COLUMNS = 10  # of a confusion matrix that is shown whole
_MOST_CONFUSIONS = 10


def lines(file: EvaluationFile | None) -> Lines:
    """Averages, every class, and what is taken for what."""
    if file is None:
        return []
    found = [_averages("newest", file.newest)]
    if file.best is not None:
        found.append(_averages("best", file.best))
    shown = file.best or file.newest
    for label in worst_first(shown):
        words = (
            f"F1 {label.f1:.3f}  precision {label.precision:.3f}  recall {label.recall:.3f}  "
            f"of {label.support:,}"
        )
        found.append((label.label, words))
    return [*found, *_confusion(shown, file.labels)]


def worst_first(evaluation: Evaluation) -> list[ClassScore]:
    """The classes that have validation examples, the least F1 first."""
    known = [item for item in evaluation.classes if item.support]
    return sorted(known, key=lambda item: (item.f1, item.label))


def confusions(evaluation: Evaluation, labels: list[str]) -> list[tuple[int, str, str]]:
    """(how often, true class, taken for) of every confusion, the commonest first."""
    wrong = [
        (count, labels[i], labels[j])
        for i, row in enumerate(evaluation.confusion)
        for j, count in enumerate(row)
        if count and i != j
    ]
    return sorted(wrong, key=lambda item: (-item[0], item[1], item[2]))


def data_lines(report: DataReport | None) -> Lines:
    """Counts of what was found before training, without the zeros."""
    if report is None:
        return []
    repeats = report.repeats
    counts = {
        "training examples": report.train.examples,
        "validation examples": report.validation.examples,
        "tokens": report.train.tokens,
        "over-long, cut": report.train.cut + report.validation.cut,
        "without an answer, left out": report.train.unanswered + report.validation.unanswered,
        "said again": repeats.exact,
        "of these dropped": repeats.dropped,
        "almost the same": repeats.near or 0,
        "taken out of validation": repeats.removed,
        "of validation almost the same": repeats.shared_near or 0,
        "texts with several labels": repeats.contradicting,
        "written by a model": report.augmented.added if report.augmented else 0,
    }
    lines = [(name, f"{count:,}") for name, count in counts.items() if count]
    return [*lines, *_not_taught(report)]


def _not_taught(report: DataReport) -> Lines:
    """Rows left out and fields not used, of each part."""
    found = []
    for name, part in (
        ("training", report.train),
        ("validation", report.validation),
        ("replay", report.replay),
    ):
        found += [
            (f"left out of {name}", f"{item.rows:,}: {item.why()}") for item in part.reasons()
        ]
        found += [(f"unused {name} fields", item.text()) for item in part.unused]
        if part.columns:
            found.append((f"unused {name} columns", part.columns_text()))
    return found


def _averages(name: str, evaluation: Evaluation) -> tuple[str, str]:
    return name, (
        f"step {evaluation.step:,}  accuracy {evaluation.accuracy:.3f}  "
        f"macro F1 {evaluation.f1_macro:.3f}  precision {evaluation.precision_macro:.3f}  "
        f"recall {evaluation.recall_macro:.3f}"
    )


def _confusion(evaluation: Evaluation, labels: list[str]) -> Lines:
    """The matrix where it is small, else the commonest confusions."""
    matrix = evaluation.confusion
    if len(labels) <= MOST_COLUMNS:
        width = max(len(str(count)) for row in matrix for count in row) + 1
        head = ("true \\ taken for", "".join(f"{i:>{width}}" for i in range(len(labels))))
        rows = [
            (f"{index} {label}", "".join(f"{count:>{width}}" for count in row))
            for index, (label, row) in enumerate(zip(labels, matrix, strict=True))
        ]
        return [head, *rows]
    return [
        (true, f"{count:,} times taken for {taken}")
        for count, true, taken in confusions(evaluation, labels)[:_MOST_CONFUSIONS]
    ]
