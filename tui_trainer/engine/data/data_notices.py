"""Sentences about the data: a summary, and a notice for each problem or change."""

from __future__ import annotations

from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import DataReport, PartReport
from tui_trainer.engine.data.class_balance import IMBALANCED
from tui_trainer.text.formats import count, duration, number, plural, short_number

_MOST_NAMED = 10  # columns in a sentence


def summary(report: DataReport) -> str:
    """One sentence about the whole: examples, tokens, repetitions, columns that are not used."""
    train = report.train
    parts = [
        f"{plural(train.examples, 'training example')}, {plural(train.tokens, 'token')} "
        f"({count(train.learned)} learned, the longest example {count(train.longest)})"
        if not report.labels
        else f"{plural(train.examples, 'training example')} in "
        f"{plural(len(report.labels), 'class', 'classes')}, {plural(train.tokens, 'token')}, "
        f"the longest {count(train.longest)}"
    ]
    if report.validation.examples:
        parts.append(plural(report.validation.examples, "validation example"))
    if report.replay.examples:
        parts.append(f"{count(report.replay.examples)} replayed")
    if report.retain.examples:
        parts.append(f"{count(report.retain.examples)} retained")
    clean = not any((report.repeats.exact, report.repeats.near, report.repeats.shared))
    if clean and report.repeats.near is not None:
        parts.append("no duplicates")
    parts += [
        f"{name} columns not used: {part.columns_text(_MOST_NAMED)}"
        for part, name in parts_of(report)
        if part.columns
    ]
    return "; ".join(parts)


def notices(report: DataReport, job: Job) -> list[str]:
    """A sentence for each problem in the data and each change made to it."""
    found = []
    for part, name in parts_of(report):
        found += _about_part(part, name, job.data.max_length, labelled=bool(report.labels))
    found += [*_about_repeats(report, job), *_about_classes(report, job)]
    return [*found, *_about_sources(report), *_about_versions(report)]


def _about_sources(report: DataReport) -> list[str]:
    found = []
    for source in report.sources:
        others = f" and {plural(source.more_files, 'more file')}" if source.more_files else ""
        found.append(
            f"{', '.join(source.files)}{others}: weight {short_number(source.weight)}, so that "
            f"{plural(source.rows, 'row')} are {plural(source.used, 'row')} in an epoch"
        )
    return found


def parts_of(report: DataReport) -> tuple[tuple[PartReport, str], ...]:
    """Return every part of the data with its name."""
    return (
        (report.train, "training"),
        (report.validation, "validation"),
        (report.replay, "replayed"),
        (report.retain, "retained"),
        (report.null_space, "null space"),
    )


def _about_versions(report: DataReport) -> list[str]:
    made = report.augmented
    if made is None:
        return []
    when = "in an earlier run, from the cache" if made.cached else "in this run"
    return [
        f"{plural(made.added, 'training row')} added, written by {made.model} ({made.method} of "
        f"{plural(made.asked, 'row')}, {duration(made.seconds)} {when}); "
        f"{plural(made.asked - made.added, 'version')} rejected (empty, duplicate, of another "
        "length or with other numbers); all are in augmented.json"
    ]


def _about_part(part: PartReport, name: str, limit: int, *, labelled: bool) -> list[str]:
    found = [
        f"{plural(item.rows, f'{name} row')} left out: {item.text()}" for item in part.reasons()
    ]
    found += [f"not used in {name} rows: {item.text()}" for item in part.unused]
    if part.cut:
        rows = part.rows - sum(item.rows for item in part.reasons())
        found.append(
            f"{count(part.cut)} of {plural(rows, f'{name} row')} longer than "
            f"{plural(limit, 'token')}: cut"
        )
    if part.unanswered:
        why = _unanswered(limit, labelled=labelled)
        found.append(f"{plural(part.unanswered, f'{name} row')} left out: {why}")
    return found


def unanswered_reason(job: Job) -> str:
    """Why rows have nothing to learn although they can be read."""
    return _unanswered(job.data.max_length, labelled=job.task == "classification")


def _unanswered(limit: int, *, labelled: bool) -> str:
    if labelled:
        return "label not in any training row"
    return f"no answer within {plural(limit, 'token')}"


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
            f"({number(most.weight, 3)} to {number(least.weight, 3)})",
            "oversample": "rows of rarer classes repeated, up to "
            f"{short_number(least.copies)} times",
            "none": 'not balanced (data.balance = "none")',
        }[job.data.balance]
        found.append(
            f"classes of unequal size, from {count(least.train)} ({least.label}) to "
            f"{count(most.train)} ({most.label}) examples: {done}"
        )
    return found
