"""Using the rows of some sources more or less often than those of others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tui_trainer.contracts.runs.data_report import SourceReport
from tui_trainer.engine.data.files.row_store import select
from tui_trainer.engine.data.rows import Row

_MOST_NAMED = 5  # files of a weight


def mix(
    rows: Sequence[Row], files: Sequence[Path], weights: Sequence[float], seed: int
) -> tuple[Sequence[Row], list[SourceReport]]:
    """Return each row as often as its source's weight says, copies after it, and the counts.

    A weight of 2.3 gives every row twice and 30 % of them a third time, drawn once, with the seed,
    among all rows of this weight. Of a source with a small weight at least one row remains.
    """
    different = sorted({weight for weight in weights if weight != 1})
    if not different:
        return rows, []
    copies = np.ones(len(rows), dtype=np.int64)
    of_rows = np.fromiter((row.source_weight for row in rows), np.float64, len(rows))
    reports = []
    for order, weight in enumerate(different):
        own = np.flatnonzero(of_rows == weight)
        whole = int(weight)
        share = int((weight - whole) * len(own) + 0.5)
        if not whole and len(own):
            share = max(1, share)
        # The last 2 sets it apart from the orders of epochs in batching.py.
        drawn = np.random.default_rng([seed, order, 2]).permutation(len(own))[:share]
        copies[own] = whole
        copies[own[drawn]] += 1
        names = list(
            dict.fromkeys(f.name for f, own_weight in zip(files, weights, strict=True)
                          if own_weight == weight)
        )  # fmt: skip
        reports.append(
            SourceReport(
                files=names[:_MOST_NAMED],
                more_files=max(0, len(names) - _MOST_NAMED),
                weight=weight,
                rows=len(own),
                used=int(copies[own].sum()),
            )
        )
    return select(rows, np.repeat(np.arange(len(rows)), copies)), reports
