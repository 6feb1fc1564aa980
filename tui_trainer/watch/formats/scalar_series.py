"""Single values that come metric by metric: one timeline out of many clocks."""

from __future__ import annotations

from array import array

import numpy as np

from tui_trainer.watch.formats.base import ForeignSource
from tui_trainer.watch.formats.record_columns import EVAL, TRAIN, measured
from tui_trainer.watch.snapshots import MISSING, Column
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.history import History
from tui_trainer.watch.tables.metric_decoder import MOST_COLUMNS, DecodedRows

_CHUNK = 16_384
# A row that belongs further up makes the tables anew; live, at most so often (values).
_REBUILT_AFTER = 1


class _Track:
    """One metric's steps, values and times, in the order in which they came."""

    def __init__(self) -> None:
        self.steps, self.values, self.walls = array("d"), array("d"), array("d")

    def add(self, step: float, value: float, wall: float) -> None:
        self.steps.append(step)
        self.values.append(value)
        self.walls.append(wall)

    def drop_from(self, step: float) -> None:
        keep = np.frombuffer(self.steps) < step
        if not keep.all():
            self.steps, self.values, self.walls = (
                array("d", np.frombuffer(kept)[keep].tobytes())
                for kept in (self.steps, self.values, self.walls)
            )


class ScalarSource(ForeignSource):
    """Feeds the tables with single values.

    A metric whose own step goes back was restarted: what it replaces is dropped, as a `History`
    does. A step that is only behind *other* metrics (one counts epochs, another batches; two
    writers at once) belongs further up: the tables are then made anew from what is kept.
    """

    def __init__(self) -> None:
        super().__init__()
        self._tracks: dict[str, _Track] = {}
        self._kinds: dict[str, int] = {}
        self._front = {TRAIN: -np.inf, EVAL: -np.inf}
        self._late = 0
        self._last: dict[str, float] = {}

    def anew(self) -> None:
        """Forgets all rows."""
        super().anew()
        self._tracks.clear()
        self._kinds.clear()
        self._front = {TRAIN: -np.inf, EVAL: -np.inf}
        self._late = 0
        self._last.clear()

    def has_room(self, name: str) -> bool:
        """Whether a metric is kept: only so many are."""
        if name in self._kinds or len(self._kinds) < MOST_COLUMNS:
            return True
        self.rows.left_out = True
        return False

    def put(self, wall: float, step: float, name: str, value: float) -> None:
        """Takes one value of a single writer: one that is behind its own metric went back."""
        if not self.has_room(name):
            return
        back = step < self._last.get(name, step)
        if back:
            self._last = {known: min(last, step) for known, last in self._last.items()}
        self._last[name] = step
        self.add(step, name, value, wall, back)

    def add(self, step: float, name: str, value: float, wall: float, back: bool) -> None:
        """Takes one value by its canonical name; `back` says that its writer went back."""
        kind = self._kinds.get(name)
        if kind is None:
            kind = self._kinds[name] = EVAL if metric_names.is_eval(name) else TRAIN
            self._tracks.setdefault(name, _Track())
        if back and kind == TRAIN:
            if self._late:  # the tables are not fed, so they do not notice it themselves
                self.history.rewinds = [*self.history.rewinds, (self._front[TRAIN], step)][-100:]
                self.history.rewind_count += 1
            for track in self._tracks.values():
                track.drop_from(step)
            self._front = {kind: min(front, step) for kind, front in self._front.items()}
        track = self._tracks[name]
        if back and kind == EVAL:
            track.drop_from(step)
        track.add(step, value, wall)
        if step < self._front[kind] and not back:
            self._late += 1
        else:
            self._front[kind] = step
        if not self._late:
            self.rows.add(step, ((name, value),), time=wall)

    def rebuild(self) -> bool:
        """Makes the tables anew where a value belongs further up; tells whether it did."""
        if self._late < _REBUILT_AFTER:
            return False
        self._late = 0
        self.rows.take()
        old, fresh = self.history, History()
        for kind in (TRAIN, EVAL):
            for rows in self._joined(kind):
                fresh.append(rows)
        fresh.rewinds, fresh.rewind_count = old.rewinds, old.rewind_count
        self.history = fresh
        return True

    def _joined(self, kind: int) -> list[DecodedRows]:
        """All values of one kind as rows, by step; of one metric's at a step the last stands."""
        tracks = {n: t for n, t in self._tracks.items() if self._kinds[n] == kind}
        if not tracks:
            return []
        steps = np.unique(np.concatenate([np.frombuffer(t.steps) for t in tracks.values()]))
        columns: dict[str, Column] = {"step": steps, "time": np.full(len(steps), -np.inf)}
        for name, track in tracks.items():
            at = np.searchsorted(steps, np.frombuffer(track.steps))
            columns[name] = np.full(len(steps), MISSING)
            columns[name][at] = measured(np.frombuffer(track.values))
            np.maximum.at(columns["time"], at, np.frombuffer(track.walls))
        kinds = np.full(len(steps), kind, dtype=np.int8)
        return [
            DecodedRows(
                {n: c[at : at + _CHUNK] for n, c in columns.items()}, kinds[at : at + _CHUNK]
            )
            for at in range(0, len(steps), _CHUNK)
        ]
