"""Detects which files are runs; files are inspected again only while they may become one."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from tui_trainer.store.regular_files import read_regular
from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.formats import mlflow, registry, sqlite, trainer_state
from tui_trainer.watch.tables import metric_names
from tui_trainer.watch.tables.metric_decoder import MetricDecoder

LINES = (".jsonl", ".ndjson")
SUFFIXES = (*LINES, *registry.FILES, *registry.DATABASES)
_HEAD_BYTES = 64 * 1024
# The lines up to here usually suffice to recognise a run; decoding all of the head takes many times
# as long.
_FIRST_BYTES = 2 * 1024
_CHECKPOINTS_TRIED = 3


class FormatDetector:
    """Remembers the kind of each file: that of a run for good, that of others until their size
    changes."""

    def __init__(self) -> None:
        self._kinds: dict[Path, tuple[int, str | None]] = {}
        self.problems: dict[Path, str] = {}  # why a file could not be inspected
        self._databases: dict[Path, tuple[sqlite.Signature, str, list[tuple[str, str]]]] = {}

    def size(self, file: Path) -> int:
        """The size of a file when it was last inspected, 0 where it was not."""
        return max(0, self._kinds.get(file, (0, None))[0])

    def kind(self, file: Path, need_step: bool = True) -> str | None:
        """The kind of run that a file is; None for no run, or for a file that cannot be read."""
        size, kind = self._kinds.get(file, (-1, None))
        lines = file.name.endswith(LINES)
        if kind is not None or (lines and size >= _HEAD_BYTES):
            return kind
        try:
            now = file.stat().st_size
            if now != size:
                self._kinds[file] = (now, None)  # kept if the inspection fails
                kind = _inspect(file, lines, need_step)
                self._kinds[file] = (now, kind)
                self.problems.pop(file, None)
        except OSError:
            self._kinds.pop(file, None)
            return None
        except Exception as error:
            self.problems[file] = caught(error, file)
        return kind

    def database(self, file: Path) -> tuple[str, list[tuple[str, str]]] | None:
        """The tool of a database, and id and name of each run; None for any other file."""
        seen = sqlite.signature(file)
        known = self._databases.get(file)
        if known is None or known[0] != seen:
            try:
                tool = ""
                if read_regular(file, len(sqlite.MAGIC)) == sqlite.MAGIC:
                    tool = (known[1] if known is not None else "") or sqlite.tool_of(file) or ""
                runs = sqlite.runs_of(file, tool) if tool else []
                known = self._databases[file] = (seen, tool, runs)
                self.problems.pop(file, None)
            except (OSError, sqlite3.Error):
                pass  # busy or incomplete: what is known is kept, and it is tried again
            except Exception as error:
                self.problems[file] = caught(error, file)
                before = known or (seen, "", [])
                known = self._databases[file] = (seen, *before[1:])
        return (known[1], known[2]) if known is not None and known[1] else None

    def is_trainer_output(self, folder: Path, own: bool, checkpoints: list[str]) -> bool:
        """Whether a folder is the output folder of a Hugging Face trainer."""
        newest = sorted(
            checkpoints, key=lambda name: trainer_state.checkpoint_step(name) or 0, reverse=True
        )
        files = [folder / trainer_state.STATE] if own else []
        files += [folder / name / trainer_state.STATE for name in newest[:_CHECKPOINTS_TRIED]]
        return any(self.kind(file) == "trainer_state" for file in files)

    def is_mlflow_run(self, folder: Path) -> bool:
        """Whether a folder with a `meta.yaml` is a run of MLflow's file store."""
        meta = folder / mlflow.META
        size, kind = self._kinds.get(meta, (-1, None))
        try:
            now = meta.stat().st_size
        except OSError:
            return False
        if now != size:
            self._kinds[meta] = (now, None)
            try:
                kind = "mlflow" if mlflow.is_run(folder) else None
            except Exception as error:
                self.problems[meta] = caught(error, meta)
            else:
                self._kinds[meta] = (now, kind)
                self.problems.pop(meta, None)
        return kind == "mlflow"

    def forget(self, folders: set[Path]) -> None:
        """Forgets files that are neither in one of these folders nor in a checkpoint of one."""

        def is_kept(file: Path) -> bool:
            return file.parent in folders or file.parent.parent in folders

        self._kinds = {p: v for p, v in self._kinds.items() if is_kept(p)}
        self._databases = {p: v for p, v in self._databases.items() if is_kept(p)}
        self.problems = {p: v for p, v in self.problems.items() if is_kept(p)}


def holds_metrics(head: bytes, need_step: bool = True) -> bool:
    """Whether JSON lines with this beginning have numbers by step; the last line may be cut
    off."""
    whole = head[: head.rfind(b"\n") + 1] or head
    first = whole[: whole.find(b"\n", _FIRST_BYTES) + 1]
    return _has_values(first, need_step) or _has_values(whole, need_step)


def _has_values(lines: bytes, need_step: bool) -> bool:
    for rows in MetricDecoder(typed_from=1 << 60).feed(lines):
        steps = rows.columns.get("step")
        if need_step and (steps is None or not np.isfinite(steps).any()):
            continue
        for name, values in rows.columns.items():
            if name not in metric_names.INDEX_COLUMNS and np.isfinite(values).any():
                return True
    return False


def _inspect(file: Path, lines: bool, need_step: bool) -> str | None:
    if not lines:
        return registry.detect(file)
    return "jsonl" if holds_metrics(read_regular(file, _HEAD_BYTES), need_step) else None
