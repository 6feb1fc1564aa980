"""Training examples: token ids and the mask of those that count in the loss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, overload

import numpy as np
import numpy.typing as npt

from tui_trainer.engine.data.tokens.token_arrays import decode

if TYPE_CHECKING:
    from tui_trainer.engine.data.rows import Row
    from tui_trainer.engine.data.tokens.token_table import TokenTable

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Example:
    """One tokenised row."""

    input_ids: list[int]  # token ids, without padding
    learned: list[int]  # 0 or 1 per token: 1 where it counts in the loss; all 0 with a class
    weight: float  # factor of its loss
    label: int | None = None  # index of its class in a classification, else None
    group: str = ""  # rows with the same one teach the same answer; empty: unknown
    retained: bool = False  # its tokens keep the base's predictions instead of being learned
    where: str = field(default="", compare=False)  # its file and line: `train.jsonl line 12`

    def learned_count(self) -> int:
        """Count the predictions in the loss: tokens, or the one class."""
        return sum(self.learned[1:]) if self.label is None else 1


@dataclass(frozen=True)
class _Columns:
    """What the examples of a part share with their rows."""

    tokens: TokenTable
    rows: Sequence[Row]
    labels: Integers | None  # (examples,) class of each; None without classes
    groups: list[str] | None  # group of each; None where no row has one
    retained: bool


class Examples(Sequence[Example]):
    """The examples of a part, each made when it is asked for, from arrays that may be in a file.
    A slice has the same columns, without a copy of them."""

    def __init__(
        self,
        tokens: TokenTable,
        rows: Sequence[Row],
        weights: npt.NDArray[np.float64],
        labels: Integers | None = None,
        groups: list[str] | None = None,
    ) -> None:
        """`weights`, `labels` and `groups` have a value for each example of `tokens`."""
        self._columns = _Columns(tokens, rows, labels, groups, retained=False)
        self._weights = weights
        self._order: Integers = np.arange(len(tokens), dtype=np.int64)

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> Examples: ...

    def __getitem__(self, index: int | slice) -> Example | Examples:
        if isinstance(index, slice):
            return self.take(index)
        at = int(self._order[index])
        own = self._columns
        ids, mask = decode(own.tokens.coded_of(at))
        return Example(
            ids.tolist(),
            mask.astype(np.int8).tolist(),
            float(self._weights[at]),
            None if own.labels is None else int(own.labels[at]),
            "" if own.groups is None else own.groups[at],
            own.retained,
            own.rows[int(own.tokens.rows[at])].where,
        )

    def __iter__(self) -> Iterator[Example]:
        return map(self.__getitem__, range(len(self)))

    def __add__(self, other: Sequence[Example]) -> list[Example]:
        return [*self, *other]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(one == another for one, another in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]  # as lists

    def take(self, indices: Integers | slice) -> Examples:
        """Return the examples at the indices; one may occur several times."""
        taken = Examples.__new__(Examples)
        taken._columns, taken._weights = self._columns, self._weights
        taken._order = self._order[indices]
        return taken

    def once(self) -> Examples:
        """Return the same examples without those that occur again."""
        return self.take(np.sort(np.unique(self._order, return_index=True)[1]))

    def locations(self) -> Iterator[str]:
        """Yield the file and line of each example."""
        return (self._columns.rows[at].where for at in self.rows.tolist())

    def with_factors(self, factors: npt.NDArray[np.float64]) -> Examples:
        """Return the same examples with their weights multiplied by the factor of their class."""
        assert self._columns.labels is not None  # noqa: S101  (only with classes)
        changed = self[:]
        changed._weights = self._weights * factors[self._columns.labels]
        return changed

    def as_retained(self) -> Examples:
        """Return the same examples as ones that keep the base's predictions."""
        changed = self[:]
        changed._columns = replace(self._columns, retained=True)
        return changed

    @property
    def rows(self) -> Integers:
        """The row of each example, as an index."""
        return self._columns.tokens.rows[self._order]

    @property
    def lengths(self) -> Integers:
        """Number of tokens of each example."""
        bounds = self._columns.tokens.bounds
        return bounds[self._order + 1] - bounds[self._order]

    @property
    def learned_counts(self) -> Integers:
        """Number of predictions in the loss of each example: tokens, or the one class."""
        if self._columns.labels is not None:
            return np.ones(len(self), dtype=np.int64)
        return self._columns.tokens.learned[self._order]

    @property
    def labels(self) -> Integers | None:
        """The class of each example; None without classes."""
        return None if self._columns.labels is None else self._columns.labels[self._order]

    @property
    def groups(self) -> list[str]:
        """The group of each example; nothing where no row has one."""
        own = self._columns.groups
        return [] if own is None else [own[at] for at in self._order.tolist()]

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The factor of the loss of each example."""
        return self._weights[self._order]

    def numbers(self) -> Iterator[tuple[Integers, Integers]]:
        """Yield the token ids and the learned mask of each example."""
        for at in self._order.tolist():
            ids, mask = decode(self._columns.tokens.coded_of(at))
            yield ids.astype(np.int64), mask.astype(np.int64)
