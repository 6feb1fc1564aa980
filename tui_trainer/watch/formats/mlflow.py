"""Reads a run of MLflow's file store: files `metrics/NAME` with lines of time, value and step."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tui_trainer.store.regular_files import read_regular
from tui_trainer.text import formats
from tui_trainer.watch.formats.binary_tail import SLICE, BinaryTail
from tui_trainer.watch.formats.encodings.yaml_settings import read_flat
from tui_trainer.watch.formats.record_columns import FURTHEST_STEP, epoch_seconds
from tui_trainer.watch.formats.scalar_series import ScalarSource
from tui_trainer.watch.tables.source import SourceFacts

META = "meta.yaml"
_MOST_FILES = 512
_LONGEST_PARAM = 4096
_VALUES_PER_SLICE = 1_500  # at a time: some 5 ms
_Value = tuple[float, float, str, float]
_wall_time = operator.itemgetter(0)
_ENDS = {"3": "completed", "4": "failed", "5": "cancelled"}
_ENDS |= {"FINISHED": "completed", "FAILED": "failed", "KILLED": "cancelled"}


class MlflowFolderSource(ScalarSource):
    """Reads the metric files of one run by offset, and merges their values by time."""

    def __init__(self, folder: Path, ends_only: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._ends_only = ends_only
        self._files: dict[Path, BinaryTail] = {}
        self._rest: dict[Path, bytes] = {}
        self._unsorted: list[_Value] = []
        self._sorted: list[_Value] = []
        self._malformed = 0
        self._meta: tuple[int, SourceFacts] | None = None

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return all(tail.whole for tail in self._files.values())

    def read(self) -> tuple[bool, bool]:
        """Reads a slice of the first file that has more. Once all are read, their values are added
        by time, so that a restart shows in all metrics together."""
        if self._sorted:
            self._add_some()
            return True, bool(self._sorted)
        self._list()
        changed = self._read_meta()
        spent = 0
        for path, tail in self._files.items():
            chunk = tail.poll()
            if chunk.restarted:
                self._restart()
                return True, True
            if chunk.data:
                if chunk.jumped:
                    self._rest[path] = b"\n"
                self._parse(path, chunk.data)
                spent += len(chunk.data)
            if chunk.more or spent >= SLICE:
                return changed, True
        if not self._unsorted:
            return changed, False
        # Newest first, so that the oldest are removed from the end.
        self._unsorted.sort(key=_wall_time)
        self._sorted, self._unsorted = self._unsorted[::-1], []
        self._add_some()
        return True, bool(self._sorted)

    def _add_some(self) -> None:
        for _ in range(min(_VALUES_PER_SLICE, len(self._sorted))):
            self.add_in_order(*self._sorted.pop())
        self.flush()
        if not self._sorted:
            self.rebuild()

    def facts(self) -> SourceFacts:
        """The facts from `meta.yaml` and `params/`."""
        known = self._meta[1] if self._meta is not None else SourceFacts()
        ended = () if known.status else ("state",)
        return SourceFacts(
            name=known.name,
            config=known.config,
            created_at=known.created_at,
            status=known.status,
            lacks=self.lacks("checkpoints", *ended),
        )

    def _list(self) -> None:
        for path in metric_files(self.folder):
            if path not in self._files and len(self._files) < _MOST_FILES:
                self._files[path] = BinaryTail(path, self._ends_only)

    def _restart(self) -> None:
        self.reset()
        self._files.clear()
        self._rest.clear()
        self._unsorted.clear()
        self._sorted.clear()
        self.warn(
            "restarted", "a file of metrics was replaced or truncated, and all were read again"
        )

    def _parse(self, path: Path, data: bytes) -> None:
        data = self._rest.get(path, b"") + data
        end = data.rfind(b"\n") + 1
        self._rest[path] = data[end:]
        name = self.naming(path.relative_to(self.folder / "metrics").as_posix())
        for line in data[:end].splitlines():
            parts = line.split()
            try:
                step = float(parts[2]) if len(parts) > 2 else 0.0
                wall, value = float(parts[0]) / 1000, float(parts[1])
                if not abs(step) <= FURTHEST_STEP or not math.isfinite(wall):
                    raise ValueError("no step")
            except (ValueError, IndexError):
                if parts:
                    self._malformed += 1
                    which = formats.plural(self._malformed, "line is", "lines are")
                    self.warn("wrong", f"metrics: {which} not time, value and step")
                continue
            self._unsorted.append((wall, step, name, value))

    def _read_meta(self) -> bool:
        path = self.folder / META
        try:
            seen = path.stat().st_mtime_ns
        except OSError:
            return False
        if self._meta is not None and self._meta[0] == seen:
            return False
        settings = read_flat(path)
        found = settings.values
        if settings.problem is not None:
            self.warn("settings", settings.problem)
        else:
            self.clear_warning("settings")
        started = found.get("start_time")
        self._meta = (
            seen,
            SourceFacts(
                name=str(found["run_name"]) if found.get("run_name") else None,
                config=dict(_params(self.folder / "params")),
                created_at=epoch_seconds(started, 1000),
                status=_ENDS.get(str(found.get("status"))),
            ),
        )
        return True


def is_run(folder: Path) -> bool:
    """Whether a folder's `meta.yaml` is that of a run, rather than of an experiment."""
    found = read_flat(folder / META).values
    return bool(found.get("run_id") or found.get("run_uuid"))


def metric_files(folder: Path) -> list[Path]:
    """The metric files of a run; a name with a slash is a file in a folder."""
    found: list[Path] = []
    folders = [folder / "metrics"]
    while folders and len(found) < _MOST_FILES:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(Path(entry.path))
                    elif entry.is_file():
                        found.append(Path(entry.path))
        except OSError:
            continue
    return sorted(found)


def _params(folder: Path) -> Iterator[tuple[str, Any]]:
    try:
        files = sorted(folder.iterdir())[:_MOST_FILES]
    except OSError:
        return
    for path in files:
        try:
            value = read_regular(path, _LONGEST_PARAM)
        except OSError:
            continue
        yield f"params.{path.name}", value.decode("utf-8", "replace")
