"""What is said more than once in a job's rows, and the split that keeps it on one side."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tui_trainer.contracts.data import Repeats
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import DataSettings
from tui_trainer.engine.data import near_duplicates
from tui_trainer.engine.data.row_formats import ReadRows, Row


@dataclass(frozen=True)
class Parts:
    """Rows to train on and to validate on, disjoint in what they say; and what was found."""

    train: ReadRows
    validation: ReadRows
    repeats: Repeats


def divide(train: ReadRows, validation: ReadRows, settings: DataSettings, seed: int) -> Parts:
    """Finds repetitions, drops them from training where the job says so, takes what training has
    too out of validation, and holds out `val_split`. Raises `UserError` where nothing is left."""
    rows = [*train.found, *validation.found]
    exact = near_duplicates.exact_groups([row.content() for row in rows])
    near = near_duplicates.near_groups([row.content(own=True) for row in rows])
    count = len(train.found)
    kept = list(range(count))
    again = _again(rows[:count], exact[:count])
    if settings.duplicates == "drop":
        kept = [i for i in kept if i not in again]
    in_training = {exact[i] for i in range(count)}
    held = [i for i in range(count, len(rows)) if exact[i] not in in_training]
    groups = set() if near is None else set(near[:count])
    repeats = Repeats(
        exact=len(again),
        near=None if near is None else _near_count(rows[:count], near[:count]) - len(again),
        dropped=count - len(kept),
        shared=len(rows) - count - len(held),
        shared_near=None if near is None else sum(near[i] in groups for i in held),
        removed=len(rows) - count - len(held),
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
    """Keeps near duplicates on one side, unless so much is alike that too little would be held
    out; exact ones always."""
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
    """Which rows a seeded split holds out: whole groups of alike rows, in a random order, as long
    as they fit into `share` of the rows; each side gets at least one group. With labels every
    class gives its share, as near as whole rows and groups allow, and keeps a group to learn from.

    Raises `UserError` where there is one group only.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    if len(members) < 2:
        raise UserError("data.val_split needs at least two training rows that are not the same")
    most = min(len(groups) - 1, max(1, round(len(groups) * share)))
    order = np.random.default_rng([seed, 0]).permutation(len(members)).tolist()
    each = list(members.values())
    shuffled = [each[place] for place in order]
    taken: set[int] = set()
    if labels is not None and any(labels):
        for own, size in _strata(shuffled, labels, most):
            taken.update(_fill(own, min(size, sum(map(len, own[:-1])))))
    taken = taken or set(_fill(shuffled, most) or sorted(each, key=len)[0])
    return [index in taken for index in range(len(groups))]


def _fill(groups: Sequence[list[int]], most: int) -> list[int]:
    """Rows of whole groups in their order, as long as they fit."""
    chosen: list[int] = []
    for group in groups:
        if len(chosen) + len(group) <= most:
            chosen += group
    return chosen


def _strata(
    groups: Sequence[list[int]], labels: Sequence[str | None], most: int
) -> list[tuple[list[list[int]], int]]:
    """The groups of each class (that of the group's first row) and how many rows it gives: its
    share of `most`, the rows that rounding leaves over to the largest remainders."""
    by_label: dict[str, list[list[int]]] = defaultdict(list)
    for group in groups:
        by_label[labels[group[0]] or ""].append(group)
    named = sorted(by_label)
    rows = sum(len(group) for group in groups)
    exact = {name: most * sum(map(len, by_label[name])) / rows for name in named}
    left = most - sum(int(value) for value in exact.values())
    first = sorted(named, key=lambda name: (int(exact[name]) - exact[name], name))[:left]
    return [(by_label[name], int(exact[name]) + (name in first)) for name in named]


def _again(rows: Sequence[Row], exact: Sequence[int]) -> set[int]:
    """Rows that say, with the same label, what an earlier one says."""
    seen: set[tuple[int, str | None]] = set()
    again = set()
    for index, (row, group) in enumerate(zip(rows, exact, strict=True)):
        if (group, row.label) in seen:
            again.add(index)
        seen.add((group, row.label))
    return again


def _near_count(rows: Sequence[Row], near: Sequence[int]) -> int:
    """Rows that an earlier one is like, with the same label."""
    sizes = Counter((group, row.label) for row, group in zip(rows, near, strict=True))
    return sum(size - 1 for size in sizes.values())


def _contradicting(rows: Sequence[Row], exact: Sequence[int]) -> int:
    labels: dict[int, set[str | None]] = defaultdict(set)
    for row, group in zip(rows, exact, strict=True):
        labels[group].add(row.label)
    return sum(len(found) > 1 for found in labels.values())


def _too_many() -> str:
    return f"near duplicates are not looked for in more than {near_duplicates.MOST_ROWS:,} rows"
