"""What was found in the data, in words."""

from __future__ import annotations

from tui_trainer.contracts.data import DataReport, PartReport
from tui_trainer.contracts.job import Job
from tui_trainer.engine.data.class_balance import IMBALANCED

_MOST_NAMED = 10  # columns in a sentence


def summary(report: DataReport) -> str:
    """One sentence about the whole: examples, tokens, repetitions, columns that are not used."""
    train = report.train
    parts = [
        f"{train.examples:,} training examples, {train.tokens:,} tokens "
        f"({train.learned:,} learned, the longest example {train.longest:,})"
        if not report.labels
        else f"{train.examples:,} training examples in "
        f"{len(report.labels)} classes, {train.tokens:,} tokens, the longest {train.longest:,}"
    ]
    if report.validation.examples:
        parts.append(f"{report.validation.examples:,} validation examples")
    if report.replay.examples:
        parts.append(f"{report.replay.examples:,} replayed")
    clean = not any((report.repeats.exact, report.repeats.near, report.repeats.shared))
    if clean and report.repeats.near is not None:
        parts.append("nothing said twice")
    parts += [
        f"{name} columns not used: {part.columns_text(_MOST_NAMED)}"
        for part, name in _parts(report)
        if part.columns
    ]
    return "; ".join(parts)


def notices(report: DataReport, job: Job) -> list[str]:
    """A sentence for everything that is odd about the data or was done to it."""
    found = []
    for part, name in _parts(report):
        found += _about_part(part, name, job.data.max_length, labelled=bool(report.labels))
    found += [*_about_repeats(report, job), *_about_classes(report, job)]
    return [*found, *_about_versions(report)]


def _parts(report: DataReport) -> tuple[tuple[PartReport, str], ...]:
    return (
        (report.train, "training"),
        (report.validation, "validation"),
        (report.replay, "replayed"),
    )


def _about_versions(report: DataReport) -> list[str]:
    made = report.augmented
    if made is None:
        return []
    when = "once, and were kept since" if made.cached else "now"
    return [
        f"{made.added:,} training rows are not yours: {made.model} wrote them ({made.method} of "
        f"{made.asked:,} rows, {made.seconds:,.0f} s {when}); {made.asked - made.added:,} versions "
        "were thrown away (empty, said already, of another length or with other numbers); all are "
        "in augmented.json"
    ]


def _about_part(part: PartReport, name: str, limit: int, *, labelled: bool) -> list[str]:
    found = [
        f"{item.rows:,} {name} {'row' if item.rows == 1 else 'rows'} left out: {item.why()}"
        for item in part.reasons()
    ]
    found += [f"not used in {name} rows: {item.text()}" for item in part.unused]
    if part.cut:
        rows = part.rows - sum(item.rows for item in part.reasons())
        found.append(f"{part.cut:,} of {rows:,} {name} rows are longer than {limit} tokens: cut")
    if part.unanswered:
        why = (
            "their label is in no training row" if labelled else f"no answer within {limit} tokens"
        )
        found.append(f"{part.unanswered:,} {name} rows left out: {why}")
    return found


def _about_repeats(report: DataReport, job: Job) -> list[str]:
    repeats, found = report.repeats, []
    if repeats.exact:
        done = "dropped" if repeats.dropped else 'kept (data.duplicates = "drop" drops them)'
        found.append(f"{repeats.exact:,} training rows say again what an earlier one says: {done}")
    if repeats.near:
        found.append(f"{repeats.near:,} training rows are almost the same as another: kept")
    if repeats.near is None:
        found.append(repeats.method)
    if repeats.removed:
        found.append(f"{repeats.removed:,} validation rows are in training too: taken out")
    if repeats.shared_near:
        found.append(
            f"{repeats.shared_near:,} validation rows are almost the same as a training row: kept"
        )
    if repeats.contradicting:
        found.append(f"{repeats.contradicting:,} texts carry more than one label: kept")
    if job.data.validation is not None and not report.validation.examples:
        found.append("no validation rows are left: nothing will be evaluated")
    return found


def _about_classes(report: DataReport, job: Job) -> list[str]:
    found = []
    seen = [label for label in report.labels if label.train]
    unseen = [label.label for label in report.labels if not label.train]
    if unseen:
        found.append(f"held out entirely, so never trained: the classes {', '.join(unseen)}")
    if not seen:
        return found
    least = min(seen, key=lambda label: label.train)
    most = max(seen, key=lambda label: label.train)
    if most.train / least.train >= IMBALANCED:
        done = {
            "weight": f"weighted by the square root of the inverse frequency "
            f"({most.weight:.2f} to {least.weight:.2f})",
            "oversample": f"the rarer ones repeated, up to {least.copies:.3g} times",
            "none": 'left so (data.balance = "none")',
        }[job.data.balance]
        found.append(
            f"classes are of unequal size, from {least.train:,} ({least.label}) to "
            f"{most.train:,} ({most.label}) examples: {done}"
        )
    return found
