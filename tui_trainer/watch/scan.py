"""Finding runs below a folder, again and again at little cost."""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tui_trainer.store.runs import RunFolder
from tui_trainer.watch import names
from tui_trainer.watch.parse import MetricDecoder
from tui_trainer.watch.run import RunPlace

DEPTH = 4
MOST_FOLDERS = 5_000
SUFFIXES = (".jsonl", ".ndjson")
_SKIPPED = frozenset({"checkpoints", "adapter", "node_modules"})
_LOOK = 64 * 1024
# A folder changed this shortly before it was listed may change again with the same time stamp.
_SURE_AFTER = 2.0
_REJECTED_TOLD = 3
_GENERIC = frozenset({"metrics", "log", "logs", "history", "train", "train_log"})


@dataclass(frozen=True)
class Found:
    """The runs below a root by path, and why the root cannot be looked at, if so."""

    places: dict[Path, RunPlace]
    problem: str | None = None
    oddities: tuple[str, ...] = ()


@dataclass
class _Listing:
    """A folder's entries that matter, as of one time of change."""

    modified: int
    listed_at: float
    is_run: bool = False
    odd_run: bool = False
    folders: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)


class Scanner:
    """Looks for run folders and metric files, 4 folders deep.

    It does not descend into runs, hidden folders, checkpoints, nor twice into one folder. A
    folder is listed again only when it changed, a file looked into again only while it is too
    short to tell.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, _Listing] = {}
        self._verdicts: dict[Path, tuple[int, bool]] = {}
        self._oddities: set[str] = set()

    def scan(self) -> Found:
        """The runs that are there now. Never raises."""
        try:
            status = self.root.stat()
        except FileNotFoundError:
            return Found({}, f"{self.root} does not exist; its runs are shown once it does")
        except OSError as error:
            return Found({}, f"{self.root} cannot be read: {error.strerror}")
        if stat.S_ISREG(status.st_mode):
            return self._scan_file()
        if not stat.S_ISDIR(status.st_mode):
            return Found({}, f"{self.root} is neither a folder of runs nor a file of metrics")
        try:
            os.scandir(self.root).close()
        except OSError as error:
            return Found({}, f"{self.root} cannot be read: {error.strerror}")
        self._oddities = set()
        places: dict[Path, RunPlace] = {}
        self._walk(self.root, status, places)
        if not places:
            self._oddities.update(self._rejected())
        return Found(places, None, tuple(sorted(self._oddities)))

    def _rejected(self) -> list[str]:
        """What looked like runs and is none, for a folder without any: a sentence each."""
        found = []
        for folder, listing in self._listings.items():
            if listing.odd_run:
                found.append(f"{folder}: run.json cannot be read, so this is no run")
            for file in listing.files:
                size, _ = self._verdicts.get(file, (0, False))
                if size > 0:
                    found.append(f"{file} is no run: it has no rows with a step and numbers")
        return found[:_REJECTED_TOLD]

    def _scan_file(self) -> Found:
        if not self._is_metrics(self.root, need_step=False):
            return Found({}, f"{self.root} holds no metrics: JSON lines with numbers are needed")
        return Found({self.root: self._place(self.root, "jsonl")})

    def _walk(self, root: Path, status: os.stat_result, places: dict[Path, RunPlace]) -> None:
        visited = {(status.st_dev, status.st_ino)}
        level = [(root, status)]
        seen_listings: dict[Path, _Listing] = {}
        for depth in range(DEPTH + 1):
            below: list[tuple[Path, os.stat_result]] = []
            for folder, about in level:
                listing = self._list(folder, about)
                seen_listings[folder] = listing
                if listing.is_run:
                    places[folder] = self._place(folder, "run")
                    continue
                for file in listing.files:
                    if self._is_metrics(file):
                        places[file] = self._place(file, "jsonl")
                if depth < DEPTH:
                    below.extend(self._open(listing.folders, visited))
            level = below
        self._listings = seen_listings
        self._verdicts = {p: v for p, v in self._verdicts.items() if p.parent in seen_listings}

    def _open(
        self, folders: list[Path], visited: set[tuple[int, int]]
    ) -> list[tuple[Path, os.stat_result]]:
        found = []
        for folder in folders:
            try:
                about = folder.stat()
            except OSError:
                continue
            key = (about.st_dev, about.st_ino)
            if key in visited:
                continue
            if len(visited) >= MOST_FOLDERS:
                self._oddities.add(f"more than {MOST_FOLDERS:,} folders; the rest is not looked at")
                break
            visited.add(key)
            found.append((folder, about))
        return found

    def _list(self, folder: Path, about: os.stat_result) -> _Listing:
        known = self._listings.get(folder)
        if (
            known is not None
            and known.modified == about.st_mtime_ns
            and known.listed_at - known.modified / 1e9 > _SURE_AFTER
        ):
            return known
        listing = _Listing(about.st_mtime_ns, time.time())
        present: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    present.add(entry.name)
                    self._sort_in(entry, listing)
        except OSError as error:
            self._oddities.add(f"{folder} cannot be read: {error.strerror}")
            listing.listed_at = 0.0  # looked at again next time, so that it is said again
            return listing
        listing.is_run = _is_run(folder, present)
        listing.odd_run = "run.json" in present and not listing.is_run
        listing.folders.sort()
        listing.files.sort()
        return listing

    def _sort_in(self, entry: os.DirEntry[str], listing: _Listing) -> None:
        name = entry.name
        if name.startswith((".", "checkpoint-")) or name in _SKIPPED:
            return
        try:
            if entry.is_dir():
                listing.folders.append(Path(entry.path))
            elif name.endswith(SUFFIXES) and entry.is_file():
                listing.files.append(Path(entry.path))
        except OSError:
            return  # a link that leads nowhere, or into itself

    def _is_metrics(self, file: Path, need_step: bool = True) -> bool:
        size, verdict = self._verdicts.get(file, (-1, False))
        if verdict or size >= _LOOK:
            return verdict
        try:
            now = file.stat().st_size
            if now != size:
                with file.open("rb") as stream:
                    verdict = holds_metrics(stream.read(_LOOK), need_step)
                self._verdicts[file] = (now, verdict)
        except OSError:
            return False
        return verdict

    def _place(self, path: Path, kind: str) -> RunPlace:
        relative = path.relative_to(self.root).as_posix() if path != self.root else path.name
        if kind == "run":
            return RunPlace(path, "run", relative, path.name)
        stem = path.name
        for suffix in (*SUFFIXES, ".metrics"):
            stem = stem.removesuffix(suffix)
        generic = stem in _GENERIC and path.parent.name
        return RunPlace(path, "jsonl", relative, path.parent.name if generic else stem)


def holds_metrics(head: bytes, need_step: bool = True) -> bool:
    """Whether a file that begins so holds numbers by step; the last line may be cut off."""
    end = head.rfind(b"\n") + 1
    for rows in MetricDecoder(typed_from=1 << 60).feed(head[:end] or head):
        steps = rows.columns.get("step")
        if need_step and (steps is None or not np.isfinite(steps).any()):
            continue
        for name, values in rows.columns.items():
            if name not in names.PLACES and np.isfinite(values).any():
                return True
    return False


def _is_run(folder: Path, present: set[str]) -> bool:
    if "run.json" not in present:
        return False
    # Others may write a run.json too; ours has company, or reads as one.
    return bool(present & {"state.json", "metrics.jsonl"}) or RunFolder(folder).info() is not None
