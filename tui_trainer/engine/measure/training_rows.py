"""Rows that are measured and are in the training data too, whose scores say little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.engine.data import near_duplicates
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import Row
from tui_trainer.text import formats

_NAMED = 5  # rows


def shared(
    rows: Sequence[Row],
    files: Sequence[str],
    *,
    labelled: bool,
    columns: Mapping[str, str] | None = None,
) -> list[str]:
    """Return sentences for the report: which of the rows are in the training files, apart from
    white space, and how many others are near duplicates of a row there."""
    if not files:
        return []
    try:
        trained = read_rows(
            [Path(file) for file in files], labelled=labelled, columns=columns
        ).found
    except (UserError, OSError) as error:
        reason = str(error) if isinstance(error, UserError) else reason_of(error)
        return [f"not compared with the rows of the training data: {reason}"]
    first = len(trained)
    exact = near_duplicates.exact_groups(row.content() for row in chain(trained, rows))
    same = [at for at in range(len(rows)) if exact[first + at] < first]
    sentences = []
    if same:
        names = ", ".join(rows[at].where for at in same[:_NAMED])
        more = ", …" if len(same) > _NAMED else ""
        verb = "is" if len(same) == 1 else "are"
        sentences.append(
            f"{formats.plural(len(same), 'row')} {verb} in the training data too, so the scores do "
            f"not show what the model does with new rows: {names}{more}"
        )
    near = near_duplicates.near_groups(
        (row.content(with_system=False) for row in chain(trained, rows)), first + len(rows)
    )
    if near is None:
        return [
            *sentences,
            "near duplicates of training rows are not searched in more than "
            f"{formats.count(near_duplicates.MOST_ROWS)} rows",
        ]
    groups = set(near[:first].tolist())
    alike = [a for a in range(len(rows)) if near[first + a] in groups and a not in set(same)]
    if alike:
        names = ", ".join(rows[at].where for at in alike[:_NAMED])
        more = ", …" if len(alike) > _NAMED else ""
        count = formats.plural(len(alike), "near duplicate")
        sentences.append(f"{count} of rows of the training data: {names}{more}")
    return sentences
