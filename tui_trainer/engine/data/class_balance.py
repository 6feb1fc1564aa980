"""Classes of a classification job: their order, and what balances rare ones."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from tui_trainer.contracts.data import LabelReport
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Balance
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.row_formats import Row

# From this ratio of the largest to the smallest class on the data is called imbalanced.
IMBALANCED = 1.5


def find_classes(rows: Sequence[Row]) -> list[str]:
    """The labels in a fixed order: numbers by value, words by alphabet. Raises `UserError` where
    there are fewer than two."""
    labels = {row.label for row in rows if row.label is not None}
    if len(labels) < 2:
        raise UserError(
            f"classification needs at least two labels; the training rows have only {labels}"
        )
    if all(label.lstrip("-").isdecimal() for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def class_weights(counts: Sequence[int]) -> list[float]:
    """For each class the square root of its inverse frequency, scaled so that the mean over all
    examples is 1: w_c = s / sqrt(n_c) with s = N / sum of sqrt(n_c). 0 for an absent class."""
    scale = sum(counts) / sum(math.sqrt(count) for count in counts)
    return [scale / math.sqrt(count) if count else 0.0 for count in counts]


def balanced(
    train: list[Example],
    validation: Sequence[Example],
    names: Sequence[str],
    how: Balance,
    seed: int,
) -> tuple[list[Example], list[LabelReport]]:
    """Training examples weighted, or repeated until every class is as large as the largest
    (whole copies, and the rest drawn), or as they are; and what was done by class."""
    held = Counter(example.label for example in validation)
    counts = Counter(example.label for example in train)
    sizes = [counts[index] for index in range(len(names))]
    weights = class_weights(sizes) if how == "weight" else [1.0] * len(names)
    reports = [
        LabelReport(label=name, train=sizes[i], validation=held[i], weight=round(weights[i], 6))
        for i, name in enumerate(names)
    ]
    if how == "weight":
        weighted = [
            Example(e.input_ids, e.learned, e.weight * weights[e.label or 0], e.label)
            for e in train
        ]
        return weighted, reports
    if how == "none":
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
    """How often each example is taken."""
    copies = [0] * len(train)
    for label, size in enumerate(sizes):
        if size == 0:
            continue
        own = [index for index, example in enumerate(train) if example.label == label]
        whole, rest = divmod(max(sizes), size)
        drawn = np.random.default_rng([seed, label, 2]).permutation(size)[:rest]
        more = set(drawn.tolist())
        for place, index in enumerate(own):
            copies[index] = whole + (place in more)
    return copies
