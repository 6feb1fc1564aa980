"""Duplicate rows, and the split into training and validation that keeps duplicates together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import numpy.typing as npt

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import DataSettings
from tui_trainer.contracts.runs.data_report import Repeats
from tui_trainer.engine.data import near_duplicates
from tui_trainer.engine.data.files.row_store import select
from tui_trainer.engine.data.near_duplicates import Groups
from tui_trainer.engine.data.rows import ReadRows, Row
from tui_trainer.text.formats import count

Mask = npt.NDArray[np.bool_]


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
    train_count = len(train.found)
    rows = train_count + len(validation.found)
    exact = near_duplicates.exact_groups(row.content() for row in _both(train, validation))
    near = near_duplicates.near_groups(
        (row.content(with_system=False) for row in _both(train, validation)), rows
    )
    labels = _label_numbers(_both(train, validation), rows)
    repeated = _repeated(exact[:train_count], labels[:train_count])
    kept = np.flatnonzero(~repeated) if settings.duplicates == "drop" else np.arange(train_count)
    held = np.flatnonzero(~np.isin(exact[train_count:], exact[:train_count]))
    shared = rows - train_count - len(held)
    repeats = Repeats(
        exact=int(repeated.sum()),
        near=None
        if near is None
        else int(_repeated(near[:train_count], labels[:train_count]).sum() - repeated.sum()),
        dropped=train_count - len(kept),
        shared=shared,
        shared_near=None
        if near is None
        else int(np.isin(near[train_count:][held], near[:train_count]).sum()),
        removed=shared,
        contradicting=_contradicting(exact, labels),
        method=near_duplicates.METHOD if near is not None else _too_many(),
    )
    held_rows = select(validation.found, held)
    if settings.val_split is not None:
        chosen = _hold_out(exact, near, kept, labels, settings.val_split, seed)
        held_rows = select(train.found, kept[chosen])
        kept = kept[~chosen]
    return Parts(
        replace(train, found=select(train.found, kept)),
        replace(validation, found=held_rows),
        repeats,
    )


def _both(train: ReadRows, validation: ReadRows) -> Iterator[Row]:
    return chain(train.found, validation.found)


def _label_numbers(rows: Iterable[Row], count: int) -> Groups:
    """Return a number for the label of each row, in the order of their names; 0 for none."""
    known: dict[str, int] = {}
    found = np.fromiter(
        (0 if row.label is None else known.setdefault(row.label, len(known) + 1) for row in rows),
        dtype=np.int64,
        count=count,
    )
    ranks = {name: rank for rank, name in enumerate(sorted(known), start=1)}
    return np.array([0, *(ranks[name] for name in known)], dtype=np.int64)[found]


def _hold_out(
    exact: Groups, near: Groups | None, kept: Groups, labels: Groups, share: float, seed: int
) -> Mask:
    """Return which of the `kept` rows are held out. Exact duplicates stay together; near
    duplicates too, unless the groups are so large that too few rows would be held out."""
    if near is not None:
        groups = near[kept]
        if len(np.unique(groups)) > 1:
            chosen = hold_out(groups, share, seed, labels[kept])
            if chosen.sum() >= round(len(kept) * share) // 2:
                return chosen
    return hold_out(exact[kept], share, seed, labels[kept])


def hold_out(groups: Groups, share: float, seed: int, labels: Groups | None = None) -> Mask:
    """Return which rows a seeded split holds out.

    Whole groups are held out, in random order, as long as they fit into `share` of the rows; each
    side gets at least one group. With `labels` (a number for each, 0 for none) the share of each
    class is held out, as exactly as whole groups allow, and each class keeps a group for training.
    Raises `UserError` where there is only one group.
    """
    rows = len(groups)
    _, first, inverse, sizes = np.unique(
        groups, return_index=True, return_inverse=True, return_counts=True
    )
    if len(first) < 2:
        raise UserError("data.val_split needs at least two different training rows; add rows")
    most = min(rows - 1, max(1, round(rows * share)))
    by_appearance = np.argsort(first)
    order = by_appearance[np.random.default_rng([seed, 0]).permutation(len(first))]
    chosen = np.zeros(len(first), dtype=np.bool_)
    if labels is not None and labels.any():
        # The class of a group is that of its first row.
        for own, size in _strata(order, sizes, labels[first[order]], most):
            chosen[_fill(own, sizes, min(size, int(sizes[own[:-1]].sum())))] = True
    if not chosen.any():
        chosen[_fill(order, sizes, most)] = True
    if not chosen.any():
        smallest = by_appearance[np.argmin(sizes[by_appearance])]
        chosen[smallest] = True
    return chosen[inverse]


def _fill(groups: Groups, sizes: Groups, most: int) -> Groups:
    """Return the groups that fit into `most` rows, tried in order; `sizes` has the rows of each."""
    chosen = []
    room = most
    for group, size in zip(groups.tolist(), sizes[groups].tolist(), strict=True):
        if not room:
            break
        if size <= room:
            chosen.append(group)
            room -= size
    return np.array(chosen, dtype=np.int64)


def _strata(groups: Groups, sizes: Groups, labels: Groups, most: int) -> list[tuple[Groups, int]]:
    """Return the groups of each class and its share of `most` rows, rounded by the largest
    remainder method. `labels` has the class of each of `groups`."""
    by_label = {label: groups[labels == label] for label in np.unique(labels).tolist()}
    rows = int(sizes.sum())
    exact = {label: most * int(sizes[own].sum()) / rows for label, own in by_label.items()}
    remaining = most - sum(int(value) for value in exact.values())
    first = sorted(exact, key=lambda label: (int(exact[label]) - exact[label], label))[:remaining]
    return [(own, int(exact[label]) + (label in first)) for label, own in by_label.items()]


def _repeated(groups: Groups, labels: Groups) -> Mask:
    """Return which rows have the group and the label of an earlier one."""
    if not len(groups):
        return np.zeros(0, dtype=np.bool_)
    pairs = groups * (labels.max() + 1) + labels
    repeated = np.ones(len(pairs), dtype=np.bool_)
    repeated[np.unique(pairs, return_index=True)[1]] = False
    return repeated


def _contradicting(exact: Groups, labels: Groups) -> int:
    """Return how many texts have more than one label."""
    different = exact[~_repeated(exact, labels)]  # once for each label
    return int((np.unique(different, return_counts=True)[1] > 1).sum())


def _too_many() -> str:
    return f"near duplicates are not searched in more than {count(near_duplicates.MOST_ROWS)} rows"
