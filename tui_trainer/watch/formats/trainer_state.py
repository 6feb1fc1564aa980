"""Reads Hugging Face's `trainer_state.json`, of an output folder with checkpoints or alone."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.store.regular_files import read_regular, without_mark
from tui_trainer.text import formats
from tui_trainer.watch.formats.base import ForeignSource
from tui_trainer.watch.formats.record_columns import EVAL, measure, number, step_number
from tui_trainer.watch.tables.flatten import flat
from tui_trainer.watch.tables.metric_decoder import null_non_finite
from tui_trainer.watch.tables.source import SourceFacts

STATE = "trainer_state.json"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_SLICE = 400  # rows: some 5 ms
_QUIET_SECONDS = 2.0
_MOST_OLDER = 20
_MOST_BYTES = 256 * 1024 * 1024
# The trainer's last row summarises the whole run; its `train_loss` is not that of the step.
_SUMMARY = frozenset({"train_runtime", "train_samples_per_second", "train_steps_per_second"})
_CONFIG = (
    "max_steps", "num_train_epochs", "train_batch_size", "logging_steps", "eval_steps",
    "save_steps", "best_metric", "best_global_step", "best_model_checkpoint",
)  # fmt: skip
_Signature = tuple[int, int, int]
_ROWS = re.compile(r'"log_history"\s*:\s*\[\s*')
_BETWEEN = re.compile(r"[\s,]*")
_ERRORS = BAD_CONTENT


class TrainerStateFile(msgspec.Struct):
    """The fields that are read; rows are decoded later, slice by slice."""

    log_history: list[msgspec.Raw]
    global_step: int = 0
    max_steps: Any = None
    num_train_epochs: Any = None
    train_batch_size: Any = None
    logging_steps: Any = None
    eval_steps: Any = None
    save_steps: Any = None
    best_metric: Any = None
    best_global_step: Any = None
    best_model_checkpoint: Any = None


class TrainerStateSource(ForeignSource):
    """Reads the state with the most steps, again whenever it changes.

    Only new rows are added; where earlier rows differ, the tables are rebuilt. While a file is
    incomplete nothing changes. Rows before the first of the newest state are read from older
    checkpoints.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._seen: dict[Path, _Signature] | None = None
        self._state: TrainerStateFile | None = None
        self._raw_rows: list[bytes] = []
        self._next = 0
        self._results: dict[str, Any] = {}
        self._lora: dict[str, Any] = {}
        self._unreadable = 0

    def read(self) -> tuple[bool, bool]:
        """Reads the file if it changed, then some of its rows."""
        changed = False
        if self._next >= len(self._raw_rows):
            files = state_files(self.path)
            seen = {path: found for path in files if (found := _signature(path)) is not None}
            if seen != self._seen and seen:
                changed = self._load(seen)
        if self._next < len(self._raw_rows):
            self._add_some()
            changed = True
        return changed, self._next < len(self._raw_rows)

    def facts(self) -> SourceFacts:
        """The settings, and whether the run reached its last step."""
        state = self._state
        total = state.max_steps if state is not None else None
        total = total if isinstance(total, int) and total > 0 else None
        done = state is not None and total is not None and state.global_step >= total
        config = {f"trainer.{name}": getattr(state, name) for name in _CONFIG if state is not None}
        config = {name: value for name, value in config.items() if value is not None}
        return SourceFacts(
            config={**config, **self._results, **self._lora},
            total_steps=total,
            status="completed" if done else None,
            lacks=self.lacks(*(() if done else ("state",))),
        )

    def _load(self, seen: dict[Path, _Signature]) -> bool:
        states: list[tuple[int, int, Path, TrainerStateFile]] = []
        unreadable: list[Path] = []
        for path in _newest_first(seen):
            state = _decode(path)
            if state is None:
                unreadable.append(path)
                continue
            states.append((state.global_step, seen[path][2], path, state))
            if len(states) == 2:  # the folder's own file and the newest checkpoint
                break
        changed = self._warn_unreadable(unreadable, seen)
        if not states and not self._raw_rows:
            # Nothing is shown yet, so the complete rows of a file that is cut off are used.
            found = [(s.global_step, 0, p, s) for p in unreadable if (s := _salvage(p)) is not None]
            states = found[:1]
        if not states:
            return changed
        _, _, source, state = max(states, key=lambda found: found[:2])
        rows = [bytes(row) for row in state.log_history]
        rows = self._older_rows(rows, seen) + rows
        self._state = state
        self._lora = _adapter(source.parent)
        begun = self._raw_rows[: self._next]
        if rows[: len(begun)] != begun:
            self.reset()
            self._next, self._results, self._unreadable = 0, {}, 0
        self._raw_rows = rows
        return True

    def _warn_unreadable(self, unreadable: list[Path], seen: dict[Path, _Signature]) -> bool:
        """Adds warnings about files that cannot be read, once they have been quiet for a while, as
        they may be incomplete."""
        now = time.time()
        fresh = [path for path in unreadable if abs(now - seen[path][2] / 1e9) < _QUIET_SECONDS]
        self._seen = None if fresh else seen
        changed = False
        for path in unreadable:
            if path not in fresh:
                name = path.relative_to(self.path) if path != self.path else path.name
                changed |= self.warn(
                    f"broken {path}", f"{name}: cut off, or not a trainer_state.json"
                )
        for path in seen:
            if path not in unreadable:
                changed |= self.clear_warning(f"broken {path}")
        return changed

    def _older_rows(self, rows: list[bytes], seen: dict[Path, _Signature]) -> list[bytes]:
        """Rows of older checkpoints from before the first of these rows."""
        first = next((s for row in rows if (s := _step(row)) is not None), None)
        older: list[bytes] = []
        for path in _newest_first(seen)[:_MOST_OLDER]:
            match = _CHECKPOINT.fullmatch(path.parent.name)
            if first is None or match is None or int(match[1]) >= first:
                continue
            state = _decode(path)
            found = [] if state is None else [bytes(row) for row in state.log_history]
            found = [row for row in found if (step := _step(row)) is not None and step < first]
            if found:
                older = found + older
                first = _step(found[0])
        return older

    def _add_some(self) -> None:
        for row in self._raw_rows[self._next : self._next + _SLICE]:
            try:
                values = msgspec.json.decode(row, type=dict[str, Any])
            except BAD_CONTENT:
                self._unreadable += 1
            else:
                self._add_row(values)
        self._next = min(self._next + _SLICE, len(self._raw_rows))
        if self._unreadable:
            self.warn(
                "rows",
                f"{formats.plural(self._unreadable, 'row')} of log_history left out: not an object",
            )
        self.flush()

    def _add_row(self, row: dict[str, Any]) -> None:
        step, epoch = step_number(row.pop("step", None)), number(row.pop("epoch", None))
        if not _SUMMARY.isdisjoint(row):
            self._results |= {f"results.{name}": value for name, value in row.items()}
            return
        self.naming.learn(list(row))
        values = [(self.naming(n), v) for n, o in row.items() if (v := measure(o)) is not None]
        predicted = any(name.startswith(("predict_", "test_")) for name, _ in values)
        if step is None and not len(self.history.train) and not len(self.rows):
            step = 0.0
        self.rows.add(step, values, epoch=epoch, kind=EVAL if predicted else 0)


def _adapter(folder: Path) -> dict[str, Any]:
    """PEFT's settings beside the state; empty where there are none."""
    try:
        content = without_mark(read_regular(folder / "adapter_config.json", 1024 * 1024))
        found = msgspec.json.decode(content, type=dict[str, Any])
    except (OSError, *BAD_CONTENT):
        return {}
    return flat({name: value for name, value in found.items() if value is not None}, "lora")


def state_files(path: Path) -> list[Path]:
    """The states of an output folder, or the one file."""
    if not path.is_dir():
        return [path]
    found = [path / STATE] if (path / STATE).is_file() else []
    try:
        with os.scandir(path) as entries:
            folders = [e.path for e in entries if _CHECKPOINT.fullmatch(e.name)]
    except OSError:
        folders = []
    return found + [Path(folder) / STATE for folder in folders]


def checkpoint_step(name: str) -> int | None:
    """The step of a checkpoint folder, None for another name."""
    match = _CHECKPOINT.fullmatch(name)
    return int(match[1]) if match else None


def _newest_first(seen: dict[Path, _Signature]) -> list[Path]:
    """The states by their folders: the output folder's own, then checkpoints, newest first."""

    def key(path: Path) -> tuple[float, int]:
        step = checkpoint_step(path.parent.name)
        return (float("inf") if step is None else step), seen[path][2]

    return sorted(seen, key=key, reverse=True)


def _decode(path: Path) -> TrainerStateFile | None:
    try:
        data = without_mark(read_regular(path, _MOST_BYTES))
    except OSError:
        return None
    try:
        return msgspec.json.decode(data, type=TrainerStateFile)
    except _ERRORS:
        pass
    try:
        return msgspec.json.decode(null_non_finite(data), type=TrainerStateFile)  # a bare NaN
    except _ERRORS:
        return None


def _salvage(path: Path) -> TrainerStateFile | None:
    """The complete rows of a file that is cut off, or None."""
    try:
        data = null_non_finite(read_regular(path, _MOST_BYTES)).decode("utf-8", "replace")
    except OSError:
        return None
    begin = _ROWS.search(data)
    at, rows, decoder = begin.end() if begin is not None else len(data), [], json.JSONDecoder()
    while at < len(data):
        try:
            row, end = decoder.raw_decode(data, at)
        except BAD_CONTENT:
            break
        if not isinstance(row, dict):
            break
        rows.append(data[at:end].encode())
        between = _BETWEEN.match(data, end)
        at = between.end() if between is not None else end
    newest = max((step for row in rows if (step := _step(row)) is not None), default=0.0)
    return TrainerStateFile([msgspec.Raw(row) for row in rows], int(newest)) if rows else None


def _step(row: bytes) -> float | None:
    try:
        return step_number(msgspec.json.decode(row, type=dict[str, Any]).get("step"))
    except BAD_CONTENT:
        return None


def _signature(path: Path) -> _Signature | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
