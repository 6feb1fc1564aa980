"""Classes of a classification job: their order, and balancing of classes of unequal size."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Balance
from tui_trainer.contracts.runs.data_report import LabelReport
from tui_trainer.engine.data.example import Examples
from tui_trainer.engine.data.rows import Row

# Ratio of the largest to the smallest class from which the data counts as imbalanced.
IMBALANCED = 1.5


def find_classes(rows: Sequence[Row]) -> list[str]:
    """Return the labels in a fixed order: whole numbers by value, else alphabetically. Raises
    `UserError` for fewer than two."""
    labels = {row.label for row in rows if row.label is not None}
    if len(labels) < 2:
        raise UserError(
            "classification needs at least two labels, and all training rows have "
            f"{', '.join(map(repr, labels)) or 'none'}; add rows of another class"
        )
    if all(label.lstrip("-").isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def class_weights(counts: Sequence[int]) -> list[float]:
    """Return for each class the square root of its inverse frequency, scaled to a mean of 1 over
    all examples: w_c = s / sqrt(n_c) with s = N / sum of sqrt(n_c); 0 for an absent class."""
    scale = sum(counts) / sum(math.sqrt(count) for count in counts)
    return [scale / math.sqrt(count) if count else 0.0 for count in counts]


def balance(
    train: Examples,
    validation: Examples,
    names: Sequence[str],
    method: Balance,
    seed: int,
) -> tuple[Examples, list[LabelReport]]:
    """Balance the classes, and report what was done for each.

    `method`: "weight" gives examples the weights of `class_weights`, "oversample" repeats them
    until every class is as large as the largest (whole copies, and the rest drawn at random),
    "none" changes nothing.
    """
    held_out, sizes = (_sizes(part, len(names)) for part in (validation, train))
    weights = class_weights(sizes) if method == "weight" else [1.0] * len(names)
    reports = [
        LabelReport(label=name, train=sizes[i], validation=held_out[i], weight=round(weights[i], 6))
        for i, name in enumerate(names)
    ]
    if method == "weight":
        return train.with_factors(np.array(weights)), reports
    if method == "none":
        return train, reports
    repeated = train.take(np.repeat(np.arange(len(train)), _copies(train, sizes, seed)))
    reports = [
        msgspec.structs.replace(report, copies=round(max(sizes) / report.train, 4))
        if report.train
        else report
        for report in reports
    ]
    return repeated, reports


def _sizes(examples: Examples, classes: int) -> list[int]:
    """Return the number of examples of each class."""
    labels = examples.labels
    found = np.zeros(0, dtype=np.int64) if labels is None else labels
    return [int(size) for size in np.bincount(found, minlength=classes)]


def _copies(train: Examples, sizes: Sequence[int], seed: int) -> npt.NDArray[np.int64]:
    """Return how often each example is repeated."""
    copies = np.zeros(len(train), dtype=np.int64)
    for label, size in enumerate(sizes):
        if size == 0:
            continue
        own = np.flatnonzero(train.labels == label)
        whole, rest = divmod(max(sizes), size)
        drawn = np.random.default_rng([seed, label, 2]).permutation(size)[:rest]
        copies[own] = whole
        copies[own[drawn]] += 1
    return copies
