"""A run seen from afar: its row in the list, from its state and the end of its metrics."""

from __future__ import annotations

import dataclasses
import os

import numpy as np

from tui_trainer.watch.parse import MetricDecoder
from tui_trainer.watch.run import RunFacts, RunPlace, Signature, signature
from tui_trainer.watch.series import History
from tui_trainer.watch.view import RunSummary

# Files up to this size are read whole, of larger ones the end.
_WHOLE = 128 * 1024
_END = 16 * 1024


class Glance:
    """One run's summary, read again only when its files changed."""

    def __init__(self, place: RunPlace) -> None:
        self.place = place
        self.facts = RunFacts(place)
        self.facts.read()
        self.summary = self.facts.summary(None, None, None)
        self._seen: Signature = None
        first = signature(place.metrics) or signature(place.path)
        self._found_at = first[2] / 1e9 if first is not None else 0.0

    @property
    def order(self) -> float:
        """When the run began, as far as it can be known: seconds since the epoch."""
        info = self.facts.info
        return info.created_at if info is not None else self._found_at

    def read(self) -> bool:
        """Whether the summary changed. Raises `OSError` where the metrics cannot be read."""
        changed = self.facts.read()
        seen = signature(self.place.metrics)
        step, loss, best = self.summary.step, self.summary.loss, self.summary.best_val_loss
        if seen != self._seen:
            self._seen = seen
            newest = self._newest(seen[1]) if seen is not None else None
            if newest is not None:
                changed = True
                step, loss = newest[0], newest[1]
                best = newest[2] if newest[2] is not None else best
        if not changed:
            return False
        fresh = self.facts.summary(step, loss, best)
        changed = fresh != self.summary
        self.summary = fresh
        return changed

    def adopt(self, summary: RunSummary) -> None:
        """Takes over what a whole reading found out, while it stays true."""
        self.summary = dataclasses.replace(summary, status=self.facts.status)
        self._seen = signature(self.place.metrics)

    def _newest(self, size: int) -> tuple[int | None, float | None, float | None] | None:
        """The newest step and loss, and the best validation loss where the file is read whole."""
        whole = size <= _WHOLE
        with self.place.metrics.open("rb") as file:
            if not whole:
                file.seek(-_END, os.SEEK_END)
            data = file.read(_WHOLE + _END)
        begin = 0 if whole else data.find(b"\n") + 1
        history = History()
        for rows in MetricDecoder(typed_from=1 << 60).feed(data[begin : data.rfind(b"\n") + 1]):
            history.append(rows)
        tables = [history.train.table(), history.evals.table()]
        steps = [float(table.column("step")[-1]) for table in tables if len(table)]
        if not steps:
            return None
        validation = tables[1].column("val_loss")
        finite = validation[np.isfinite(validation)]
        best = float(finite.min()) if whole and len(finite) else None
        # Rows counted from the middle of a file say nothing of its steps.
        step = None if history.stepless and not whole else int(max(steps))
        return step, tables[0].last("loss"), best
