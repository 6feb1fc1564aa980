"""Reads a folder of TensorBoard event files as one run."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.store.regular_files import read_regular
from tui_trainer.text import formats
from tui_trainer.watch.formats.binary_tail import BinaryTail
from tui_trainer.watch.formats.encodings.tfevents import Frames, SummaryEvent, hparams, read_event
from tui_trainer.watch.formats.encodings.yaml_settings import read_flat
from tui_trainer.watch.formats.scalar_series import ScalarSource
from tui_trainer.watch.tables.flatten import flat
from tui_trainer.watch.tables.source import SourceFacts

MARK = "tfevents"
_QUIET_SECONDS = 2.0
_STAMP = re.compile(r"tfevents\.(\d+)")
_HPARAMS_FOLDER = re.compile(r"\d{9,}(\.\d+)?")
_MOST_SETTINGS = 1024 * 1024
# Values that loggers write beside the metrics and that are not plotted.
_NOT_PLOTTED = frozenset({"hp_metric"})


@dataclass
class _EventFile:
    """One file and its writer."""

    tail: BinaryTail
    frames: Frames = field(default_factory=Frames)
    last: dict[str, float] = field(default_factory=dict)  # newest step by metric
    is_concurrent: bool = False  # another process wrote the same metrics at the same time


class TensorBoardSource(ScalarSource):
    """Reads a folder's event files, oldest first, each by offset as it grows.

    A later file that goes back replaces the later steps, as in TensorBoard. The checksum of every
    record of up to 1 KiB is verified; damaged records are skipped.
    """

    def __init__(self, folder: Path, ends_only: bool = False) -> None:
        super().__init__()
        self.folder = folder
        self._ends_only = ends_only
        self._files: dict[Path, _EventFile] = {}
        self._newest: dict[str, tuple[float, float]] = {}
        self._config: dict[str, Any] = {}
        self._created: float | None = None
        self._settled = False

    @property
    def whole(self) -> bool:
        """Whether no rows were skipped."""
        return all(file.tail.whole for file in self._files.values())

    def read(self) -> tuple[bool, bool]:
        """Reads a slice of the first file that has more."""
        self._list()
        changed = False
        for file in self._files.values():
            chunk = file.tail.poll()
            if chunk.restarted:
                self._restart()
                return True, True
            if chunk.jumped:
                file.frames.forget()
            if chunk.data:
                self._feed(file, chunk.data)
                changed = True
            if chunk.more:
                return self.flush() or changed, True
        changed |= self.flush()
        return self.rebuild() or changed, False

    def settle(self) -> bool:
        """Adds a warning about a last record that is cut off, once its file has been quiet for a
        while."""
        changed = False
        for file in self._files.values():
            path = file.tail.path
            if file.frames.pending and _is_quiet(path):
                changed |= self.warn(f"torn {path}", f"{path.name}: the last record is cut off")
        if not self._settled:
            self._settled = changed = True
            self._read_settings()
        return changed

    def facts(self) -> SourceFacts:
        """The facts, with settings if a logger wrote them."""
        return SourceFacts(
            config=self._config,
            created_at=self._created,
            lacks=self.lacks("state", "checkpoints"),
        )

    def _list(self) -> None:
        found = event_files(self.folder)
        if found == list(self._files):
            return
        # The rows of a deleted file are kept; a new file is read after the others.
        for path in found:
            if path not in self._files:
                self._files[path] = _EventFile(BinaryTail(path, self._ends_only))

    def _restart(self) -> None:
        self.reset()
        self._files.clear()
        self._newest.clear()
        self.warn("restarted", "an event file was replaced or truncated, and all were read again")

    def _feed(self, file: _EventFile, data: bytes) -> None:
        path = file.tail.path
        self.clear_warning(f"torn {path}")
        for record in file.frames.feed(data):
            try:
                event = read_event(record)
            except ValueError:
                file.frames.damaged += len(record)
                continue
            if event is not None:
                self._add_event(file, event)
        if file.frames.damaged:
            size = formats.plural(file.frames.damaged, "byte")
            self.warn(f"damage {path}", f"{path.name}: {size} are damaged; left out")

    def _add_event(self, file: _EventFile, event: SummaryEvent) -> None:
        if self._created is None and event.wall > 0:
            self._created = event.wall
        for tag, content in (event.config or {}).items():
            self._add_setting(tag, content)
        for tag, value in event.values:
            if tag in _NOT_PLOTTED:
                continue
            name = self.naming(tag)
            if not self.has_room(name):
                continue
            back = self._goes_back(file, name, event)
            if back:
                for known in (file.last, *(other.last for other in self._files.values())):
                    known.update({n: min(s, event.step) for n, s in known.items()})
                self._newest = {n: (min(s, event.step), w) for n, (s, w) in self._newest.items()}
            self.add(float(event.step), name, value, event.wall, back)
            file.last[name] = event.step
            self._newest[name] = (event.step, event.wall)

    def _goes_back(self, file: _EventFile, name: str, event: SummaryEvent) -> bool:
        last = file.last.get(name)
        if last is not None:
            return event.step < last
        known = self._newest.get(name)
        if known is None or event.step > known[0] or file.is_concurrent:
            return False
        # A restarted run begins after the last event of the earlier one; a second writer earlier.
        if event.wall <= known[1]:
            file.is_concurrent = True
            self.warn(
                "writers",
                "several processes wrote at once; of rows with one step the last one read is kept",
            )
            return False
        return event.step < known[0]

    def _add_setting(self, tag: str, content: bytes) -> None:
        try:
            if tag.startswith("_hparams_/"):
                self._config |= {f"hparams.{name}": value for name, value in hparams(content)}
                return
            found = msgspec.json.decode(content)
        except BAD_CONTENT:
            return
        if isinstance(found, dict):
            self._config |= flat(found, tag.removesuffix("/text_summary"))

    def _read_settings(self) -> None:
        """Reads settings beside the metrics: Lightning's `hparams.yaml`, and the folders of
        `add_hparams`."""
        settings = read_flat(self.folder / "hparams.yaml")
        self._config |= {f"hparams.{name}": value for name, value in settings.values.items()}
        if settings.problem is not None:
            self.warn("settings", settings.problem)
        for folder in settings_folders(self.folder):
            for path in event_files(folder):
                try:
                    records = Frames().feed(read_regular(path, _MOST_SETTINGS))
                    for event in map(read_event, records):
                        for tag, content in (event.config or {}).items() if event else ():
                            self._add_setting(tag, content)
                except (OSError, ValueError):
                    continue


def event_files(folder: Path) -> list[Path]:
    """A folder's event files, oldest first by their names; or the one file."""
    if MARK in folder.name and folder.is_file():
        return [folder]
    try:
        with os.scandir(folder) as entries:
            found = [Path(entry.path) for entry in entries if MARK in entry.name]
    except OSError:
        return []
    return sorted(found, key=lambda path: (_stamp(path.name), path.name))


def settings_folders(folder: Path) -> list[Path]:
    """The folders made by `add_hparams`, whose name is a time."""
    try:
        with os.scandir(folder) as entries:
            return [Path(e.path) for e in entries if _HPARAMS_FOLDER.fullmatch(e.name)][:3]
    except OSError:
        return []


def is_settings_folder(name: str) -> bool:
    """Whether a folder's name is a time, as `add_hparams` makes them."""
    return _HPARAMS_FOLDER.fullmatch(name) is not None


def _stamp(name: str) -> int:
    match = _STAMP.search(name)
    return int(match[1]) if match else 0


def _is_quiet(path: Path) -> bool:
    try:
        return abs(time.time() - path.stat().st_mtime) > _QUIET_SECONDS
    except OSError:
        return True
