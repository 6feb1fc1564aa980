"""Reads a Hugging Face output folder during training: its state, and later rows of TensorBoard.

The trainer writes its state only with each checkpoint. If it also logs to TensorBoard below
`runs/`, the rows since the newest checkpoint are there.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tui_trainer.watch.formats.record_columns import EVAL, TRAIN
from tui_trainer.watch.formats.tensorboard import TensorBoardSource, event_files
from tui_trainer.watch.formats.trainer_state import TrainerStateSource, state_files
from tui_trainer.watch.snapshots import MetricTable
from tui_trainer.watch.tables.metric_decoder import DecodedRows

LOGS = "runs"


class OutputFolderSource(TrainerStateSource):
    """The rows of the state, and those of later steps in the newest event files."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._folder: Path | None = None
        self._logs: TensorBoardSource | None = None
        self._followed_to = {TRAIN: -np.inf, EVAL: -np.inf}
        self._follows = False

    def read(self) -> tuple[bool, bool]:
        """Reads the state if it changed, then a slice of the event files."""
        changed, more = super().read()
        if more:
            return changed, True
        folder = newest_logs(self.path)
        if folder != self._folder:
            self._folder = folder
            self._logs = TensorBoardSource(folder) if folder is not None else None
        if self._logs is None:
            return changed, False
        arrived, more = self._logs.read()
        if arrived or changed:
            changed |= self._follow(self._logs)
        return changed, more

    def _load(self, seen: dict[Path, tuple[int, int, int]]) -> bool:
        if self._follows:
            # The state now contains the rows added from the event files, so all are read again.
            self.reset()
            self._raw_rows, self._next, self._follows = [], 0, False
        self._followed_to = {TRAIN: -np.inf, EVAL: -np.inf}
        return super()._load(seen)

    def _follow(self, logs: TensorBoardSource) -> bool:
        """Adds the rows after the last step of the state; whether there were any."""
        begin = self._state.global_step if self._state is not None else -np.inf
        grew = False
        for kind, table in (
            (TRAIN, logs.history.train.table()),
            (EVAL, logs.history.evals.table()),
        ):
            steps = table.column("step")
            at = int(np.searchsorted(steps, max(begin, self._followed_to[kind]), side="right"))
            if at < len(steps):
                self.history.append(_rows(table, at, kind))
                self.rows.seen.update(
                    _trainer_name(name) for name in table.columns if name != "time"
                )
                self._followed_to[kind] = float(steps[-1])
                grew = self._follows = True
        return grew


def newest_logs(folder: Path) -> Path | None:
    """The folder of event files below `runs/` that was written after the newest state, or None:
    older ones may belong to an earlier run in the same folder."""
    newest, found = _newest(state_files(folder)), None
    for logs in (folder / LOGS, *_folders(folder / LOGS)):
        written = _newest(event_files(logs))
        if written > newest:
            newest, found = written, logs
    return found


def _folders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir()]
    except OSError:
        return []


def _newest(files: list[Path]) -> int:
    times = [0]
    for file in files:
        try:
            times.append(file.stat().st_mtime_ns)
        except OSError:
            continue
    return max(times)


def _rows(table: MetricTable, at: int, kind: int) -> DecodedRows:
    """The rows of a table from index `at` on, with the trainer's own names and without times,
    which the rows of the state lack."""
    columns = {_trainer_name(n): values[at:] for n, values in table.columns.items() if n != "time"}
    return DecodedRows(columns, np.full(len(table) - at, kind, dtype=np.int8))


def _trainer_name(name: str) -> str:
    """The trainer's own name: its callback writes `eval_x` as `eval/x`, all others as
    `train/x`."""
    if name.startswith("eval/"):
        return f"eval_{name.removeprefix('eval/')}"
    return name.removeprefix("train/")
