"""Sentences about the data: a summary, and a notice for each problem or change."""

from __future__ import annotations

from tui_trainer.contracts.data import DataReport, PartReport
from tui_trainer.contracts.job import Job
from tui_trainer.engine.data.class_balance import IMBALANCED
from tui_trainer.text.formats import duration, plural

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
    if report.retain.examples:
        parts.append(f"{report.retain.examples:,} retained")
    clean = not any((report.repeats.exact, report.repeats.near, report.repeats.shared))
    if clean and report.repeats.near is not None:
        parts.append("no duplicates")
    parts += [
        f"{name} columns not used: {part.columns_text(_MOST_NAMED)}"
        for part, name in _parts(report)
        if part.columns
    ]
    return "; ".join(parts)


def notices(report: DataReport, job: Job) -> list[str]:
    """A sentence for each problem in the data and each change made to it."""
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
        (report.retain, "retained"),
    )


def _about_versions(report: DataReport) -> list[str]:
    made = report.augmented
    if made is None:
        return []
    when = "in an earlier run, from the cache" if made.cached else "in this run"
    return [
        f"{plural(made.added, 'training row')} added, written by {made.model} ({made.method} of "
        f"{plural(made.asked, 'row')}, {duration(made.seconds)} {when}); "
        f"{made.asked - made.added:,} versions rejected (empty, duplicate, of another length or "
        "with other numbers); all are in augmented.json"
    ]


def _about_part(part: PartReport, name: str, limit: int, *, labelled: bool) -> list[str]:
    found = [
        f"{plural(item.rows, f'{name} row')} left out: {item.why()}" for item in part.reasons()
    ]
    found += [f"not used in {name} rows: {item.text()}" for item in part.unused]
    if part.cut:
        rows = part.rows - sum(item.rows for item in part.reasons())
        found.append(
            f"{part.cut:,} of {plural(rows, f'{name} row')} longer than {limit:,} tokens: cut"
        )
    if part.unanswered:
        why = "label not in any training row" if labelled else f"no answer within {limit:,} tokens"
        found.append(f"{plural(part.unanswered, f'{name} row')} left out: {why}")
    return found


def _about_repeats(report: DataReport, job: Job) -> list[str]:
    repeats, found = report.repeats, []
    if repeats.exact:
        done = "dropped" if repeats.dropped else 'kept (data.duplicates = "drop" drops them)'
        found.append(f"{plural(repeats.exact, 'duplicate training row')}: {done}")
    if repeats.near:
        found.append(f"{plural(repeats.near, 'near-duplicate training row')}: kept")
    if repeats.near is None:
        found.append(repeats.method)
    if repeats.removed:
        found.append(
            f"{plural(repeats.removed, 'validation row')} also in training: removed from validation"
        )
    if repeats.shared_near:
        rows = plural(repeats.shared_near, "validation row")
        found.append(f"{rows} nearly the same as a training row: kept")
    if repeats.contradicting:
        found.append(f"{plural(repeats.contradicting, 'text')} with more than one label: kept")
    if job.data.validation is not None and not report.validation.examples:
        found.append("no validation rows remain: nothing will be evaluated")
    return found


def _about_classes(report: DataReport, job: Job) -> list[str]:
    found = []
    seen = [label for label in report.labels if label.train]
    unseen = [label.label for label in report.labels if not label.train]
    if unseen:
        found.append(f"classes only in validation, so never trained: {', '.join(unseen)}")
    if not seen:
        return found
    least = min(seen, key=lambda label: label.train)
    most = max(seen, key=lambda label: label.train)
    if most.train / least.train >= IMBALANCED:
        done = {
            "weight": f"weighted by the square root of the inverse frequency "
            f"({most.weight:.2f} to {least.weight:.2f})",
            "oversample": f"rows of rarer classes repeated, up to {least.copies:.3g} times",
            "none": 'not balanced (data.balance = "none")',
        }[job.data.balance]
        found.append(
            f"classes of unequal size, from {least.train:,} ({least.label}) to "
            f"{most.train:,} ({most.label}) examples: {done}"
        )
    return found
