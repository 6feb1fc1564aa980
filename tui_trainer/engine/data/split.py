"""Duplicate rows, and the split into training and validation that keeps duplicates together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import DataSettings
from tui_trainer.contracts.runs.data_report import Repeats
from tui_trainer.engine.data import near_duplicates
from tui_trainer.engine.data.rows import ReadRows, Row
from tui_trainer.text.formats import count


@dataclass(frozen=True)
class Parts:
    """The rows after the split. No text is in both parts."""

    train: ReadRows
    validation: ReadRows
    repeats: Repeats  # the duplicates that were found


def split_rows(train: ReadRows, validation: ReadRows, settings: DataSettings, seed: int) -> Parts:
    """Find duplicate rows, drop them from training where the job asks for it, remove training rows
    from validation, and hold out the share `val_split`. Raises `UserError` where too few rows
    remain."""
    rows = [*train.found, *validation.found]
    exact = near_duplicates.exact_groups([row.content() for row in rows])
    near = near_duplicates.near_groups([row.content(with_system=False) for row in rows])
    train_count = len(train.found)
    kept = list(range(train_count))
    repeated = _repeated(rows[:train_count], exact[:train_count])
    if settings.duplicates == "drop":
        kept = [i for i in kept if i not in repeated]
    in_training = {exact[i] for i in range(train_count)}
    held = [i for i in range(train_count, len(rows)) if exact[i] not in in_training]
    groups = set() if near is None else set(near[:train_count])
    repeats = Repeats(
        exact=len(repeated),
        near=None
        if near is None
        else _near_count(rows[:train_count], near[:train_count]) - len(repeated),
        dropped=train_count - len(kept),
        shared=len(rows) - train_count - len(held),
        shared_near=None if near is None else sum(near[i] in groups for i in held),
        removed=len(rows) - train_count - len(held),
        contradicting=_contradicting(rows, exact),
        method=near_duplicates.METHOD if near is not None else _too_many(),
    )
    if settings.val_split is not None:
        labels = [rows[i].label for i in kept]
        chosen = _hold_out(exact, near, kept, labels, settings.val_split, seed)
        held = [i for i, out in zip(kept, chosen, strict=True) if out]
        kept = [i for i, out in zip(kept, chosen, strict=True) if not out]
    return Parts(
        replace(train, found=[rows[i] for i in kept]),
        replace(validation, found=[rows[i] for i in held]),
        repeats,
    )


def _hold_out(
    exact: Sequence[int],
    near: Sequence[int] | None,
    kept: Sequence[int],
    labels: Sequence[str | None],
    share: float,
    seed: int,
) -> list[bool]:
    """Return which of the `kept` rows are held out. Exact duplicates stay together; near
    duplicates too, unless the groups are so large that too few rows would be held out."""
    if near is not None:
        groups = [near[i] for i in kept]
        if len(set(groups)) > 1:
            chosen = hold_out(groups, share, seed, labels)
            if sum(chosen) >= round(len(kept) * share) // 2:
                return chosen
    return hold_out([exact[i] for i in kept], share, seed, labels)


def hold_out(
    groups: Sequence[int], share: float, seed: int, labels: Sequence[str | None] | None = None
) -> list[bool]:
    """Return which rows a seeded split holds out.

    Whole groups are held out, in random order, as long as they fit into `share` of the rows; each
    side gets at least one group. With `labels` the share of each class is held out, as exactly as
    whole groups allow, and each class keeps a group for training. Raises `UserError` where there is
    only one group.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) < 2:
        raise UserError("data.val_split needs at least two different training rows; add rows")
    most = min(len(groups) - 1, max(1, round(len(groups) * share)))
    order = np.random.default_rng([seed, 0]).permutation(len(members)).tolist()
    each = list(members.values())
    shuffled = [each[position] for position in order]
    chosen: set[int] = set()
    if labels is not None and any(labels):
        for own, size in _strata(shuffled, labels, most):
            chosen.update(_fill(own, min(size, sum(map(len, own[:-1])))))
    chosen = chosen or set(_fill(shuffled, most) or sorted(each, key=len)[0])
    return [index in chosen for index in range(len(groups))]


def _fill(groups: Sequence[list[int]], most: int) -> list[int]:
    """Return the rows of the groups that fit into `most` rows, tried in order."""
    chosen: list[int] = []
    for group in groups:
        if len(chosen) + len(group) <= most:
            chosen += group
    return chosen


def _strata(
    groups: Sequence[list[int]], labels: Sequence[str | None], most: int
) -> list[tuple[list[list[int]], int]]:
    """Return the groups of each class (that of a group's first row) and its share of `most` rows,
    rounded by the largest remainder method."""
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for group in groups:
        by_label[labels[group[0]] or ""].append(group)
    named = sorted(by_label)
    rows = sum(len(group) for group in groups)
    exact = {name: most * sum(map(len, by_label[name])) / rows for name in named}
    remaining = most - sum(int(value) for value in exact.values())
    first = sorted(named, key=lambda name: (int(exact[name]) - exact[name], name))[:remaining]
    return [(by_label[name], int(exact[name]) + (name in first)) for name in named]


def _repeated(rows: Sequence[Row], exact: Sequence[int]) -> set[int]:
    """Return the indices of rows with the same text and label as an earlier one."""
    seen: set[tuple[int, str | None]] = set()
    repeated = set()
    for index, (row, group) in enumerate(zip(rows, exact, strict=True)):
        if (group, row.label) in seen:
            repeated.add(index)
        seen.add((group, row.label))
    return repeated


def _near_count(rows: Sequence[Row], near: Sequence[int]) -> int:
    """Return how many rows have an earlier near duplicate with the same label."""
    sizes = Counter((group, row.label) for row, group in zip(rows, near, strict=True))
    return sum(size - 1 for size in sizes.values())


def _contradicting(rows: Sequence[Row], exact: Sequence[int]) -> int:
    """Return how many texts have more than one label."""
    labels: dict[int, set[str | None]] = defaultdict(set)
    for row, group in zip(rows, exact, strict=True):
        labels[group].add(row.label)
    return sum(len(found) > 1 for found in labels.values())


def _too_many() -> str:
    return f"near duplicates are not searched in more than {count(near_duplicates.MOST_ROWS)} rows"
