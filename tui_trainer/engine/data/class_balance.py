"""Classes of a classification job: their order, and balancing of classes of unequal size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Balance
from tui_trainer.contracts.runs.data_report import LabelReport
from tui_trainer.engine.data.example import Example
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
    train: list[Example],
    validation: Sequence[Example],
    names: Sequence[str],
    method: Balance,
    seed: int,
) -> tuple[list[Example], list[LabelReport]]:
    """Balance the classes, and report what was done for each.

    `method`: "weight" gives examples the weights of `class_weights`, "oversample" repeats them
    until every class is as large as the largest (whole copies, and the rest drawn at random),
    "none" changes nothing.
    """
    held_out = Counter(example.label for example in validation)
    counts = Counter(example.label for example in train)
    sizes = [counts[index] for index in range(len(names))]
    weights = class_weights(sizes) if method == "weight" else [1.0] * len(names)
    reports = [
        LabelReport(label=name, train=sizes[i], validation=held_out[i], weight=round(weights[i], 6))
        for i, name in enumerate(names)
    ]
    if method == "weight":
        weighted = [replace(e, weight=e.weight * weights[e.label or 0]) for e in train]
        return weighted, reports
    if method == "none":
        return train, reports
    copies = _copies(train, sizes, seed)
    repeated = [example for example, times in zip(train, copies, strict=True) for _ in range(times)]
    reports = [
        msgspec.structs.replace(report, copies=round(max(sizes) / report.train, 4))
        if report.train
        else report
        for report in reports
    ]
    return repeated, reports


def _copies(train: Sequence[Example], sizes: Sequence[int], seed: int) -> list[int]:
    """Return how often each example is repeated."""
    copies = [0] * len(train)
    for label, size in enumerate(sizes):
        if size == 0:
            continue
        own = [index for index, example in enumerate(train) if example.label == label]
        whole, rest = divmod(max(sizes), size)
        drawn = np.random.default_rng([seed, label, 2]).permutation(size)[:rest]
        extra = set(drawn.tolist())
        for position, index in enumerate(own):
            copies[index] = whole + (position in extra)
    return copies
