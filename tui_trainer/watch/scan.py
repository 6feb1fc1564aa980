"""Finds the runs below a folder; repeated scans are cheap."""

from __future__ import annotations

import os
import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.watch.formats import mlflow, registry, tensorboard, trainer_state
from tui_trainer.watch.formats.detect import LINES, SUFFIXES, FormatDetector, holds_metrics
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.snapshots import RunKind

__all__ = ["DEPTH", "FoundRun", "Scanner", "holds_metrics"]
DEPTH = 4
MOST_FOLDERS = 5_000
_SKIPPED = frozenset({"checkpoints", "adapter", "node_modules"})
# A folder that changed less than this before it was listed may change again with the same
# modification time.
_SETTLED_SECONDS = 2.0
_MOST_REJECTED = 3
# JSON files that are inspected in one folder; most are no runs.
_MOST_JSON = 200
_GENERIC = frozenset({"metrics", "log", "logs", "history", "train", "train_log", "training"})
# Folders that loggers name by number or time, and folders whose name is not that of a run.
_NUMBERED = re.compile(r"version_\d+|checkpoint-\d+|[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.*")
_LOG_FOLDERS = frozenset({"lightning_logs", "tb_logs", "runs", "logs", "wandb", "mlruns"})
# Folder with a TensorBoard copy in the output folder of Hugging Face's trainer.
_HF_LOGS = frozenset({"runs"})


@dataclass(frozen=True)
class FoundRun:
    """The result of a scan."""

    locations: dict[Path, RunLocation]
    problem: str | None = None  # why the root cannot be scanned
    warnings: tuple[str, ...] = ()


@dataclass
class _Listing:
    """The relevant entries of a folder, as of one modification time."""

    modified: int
    listed_at: float
    is_run: bool = False
    has_unreadable_run: bool = False
    folders: list[Path] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    events: list[Path] = field(default_factory=list)
    checkpoints: list[str] = field(default_factory=list)
    has_state: bool = False
    has_meta: bool = False


class Scanner:
    """Finds runs, of this program and of other tools, up to `DEPTH` folders deep.

    Runs, hidden folders and checkpoints are not searched, nor is a folder twice. A folder is
    listed again only when it has changed, a file inspected again only while it is too short to
    recognise its format.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listings: dict[Path, _Listing] = {}
        self._detector = FormatDetector()
        self._warnings: set[str] = set()

    def scan(self) -> FoundRun:
        """Scans the root. Never raises."""
        try:
            status = self.root.stat()
        except FileNotFoundError:
            return FoundRun({}, f"{self.root} does not exist; its runs appear once it is created")
        except OSError as error:
            return FoundRun({}, f"{self.root} cannot be read: {error.strerror}")
        if stat.S_ISREG(status.st_mode):
            return self._scan_file()
        if not stat.S_ISDIR(status.st_mode):
            return FoundRun({}, f"{self.root} is neither a folder of runs nor a file of metrics")
        try:
            os.scandir(self.root).close()
        except OSError as error:
            return FoundRun({}, f"{self.root} cannot be read: {error.strerror}")
        self._warnings = set()
        locations: dict[Path, RunLocation] = {}
        self._walk(self.root, status, locations)
        for file, reason in self._detector.problems.items():
            self._warnings.add(f"{file} cannot be inspected: {reason}")
        if not locations:
            self._warnings.update(self._rejected())
        return FoundRun(locations, None, tuple(sorted(self._warnings)))

    def _rejected(self) -> list[str]:
        """Warnings about files that look like a run but are not, for a folder without runs."""
        found = []
        for folder, listing in self._listings.items():
            if listing.has_unreadable_run:
                found.append(f"{folder}: run.json cannot be read, so it is not shown as a run")
            for file in listing.files:
                if file.name.endswith(LINES) and self._detector.size(file) > 0:
                    found.append(f"{file} is not a run: it has no rows with a step and numbers")
        return found[:_MOST_REJECTED]

    def _scan_file(self) -> FoundRun:
        locations: dict[Path, RunLocation] = {}
        self._add_files([self.root], locations, need_step=False)
        if not locations:
            return FoundRun({}, f"{self.root} contains no metrics in a known format")
        return FoundRun(locations)

    def _walk(self, root: Path, status: os.stat_result, locations: dict[Path, RunLocation]) -> None:
        visited = {(status.st_dev, status.st_ino)}
        level = [(root, status)]
        seen_listings: dict[Path, _Listing] = {}
        for depth in range(DEPTH + 1):
            below: list[tuple[Path, os.stat_result]] = []
            for folder, about in level:
                listing = self._list(folder, about)
                seen_listings[folder] = listing
                folders = self._add_runs(folder, listing, locations)
                if depth < DEPTH:
                    below.extend(self._open(folders, visited))
            level = below
        self._listings = seen_listings
        self._detector.forget(set(seen_listings))

    def _add_runs(
        self, folder: Path, listing: _Listing, locations: dict[Path, RunLocation]
    ) -> list[Path]:
        """Adds the runs that a folder is or contains; returns the folders to search further."""
        if listing.is_run:
            locations[folder] = self._location(folder, "run")
            return []
        if listing.has_meta and self._detector.is_mlflow_run(folder):
            locations[folder] = self._location(folder, "mlflow")
            return []
        files, folders = listing.files, listing.folders
        run_kind: str | None = None
        if self._detector.is_trainer_output(folder, listing.has_state, listing.checkpoints):
            run_kind = "trainer_state"
            folders = [path for path in folders if path.name not in _HF_LOGS]
        elif any(self._detector.kind(file) for file in listing.events):
            run_kind = "tensorboard"
            folders = [p for p in folders if not tensorboard.is_settings_folder(p.name)]
        if run_kind is not None:
            # Other logs of the same run are not separate runs.
            locations[folder] = self._location(folder, run_kind)
            files = [file for file in files if file.stem not in _GENERIC]
            files = [file for file in files if file.name != trainer_state.STATE]
        kinds = self._add_files(files, locations)
        # A W&B folder contains one run and its files.
        return [] if "wandb" in kinds else folders

    def _add_files(
        self, files: list[Path], locations: dict[Path, RunLocation], need_step: bool = True
    ) -> set[str]:
        kinds = set()
        for file in files:
            if file.name.endswith(registry.DATABASES):
                found = self._detector.database(file)
                for part, name in found[1] if found is not None else ():
                    path = Path(f"{file}#run={part}")
                    kind, id = found[0] if found else "", f"{self._relative(file)}#{part}"
                    locations[path] = RunLocation(path, cast(RunKind, kind), id, name, part)
                continue
            kind = self._detector.kind(file, need_step) or ""
            if kind:
                kinds.add(kind)
                locations[file] = self._location(file, kind)
        return kinds

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
                limit = formats.count(MOST_FOLDERS)
                self._warnings.add(f"more than {limit} folders; the others are not searched")
                break
            visited.add(key)
            found.append((folder, about))
        return found

    def _list(self, folder: Path, about: os.stat_result) -> _Listing:
        known = self._listings.get(folder)
        if (
            known is not None
            and known.modified == about.st_mtime_ns
            and known.listed_at - known.modified / 1e9 > _SETTLED_SECONDS
        ):
            return known
        listing = _Listing(about.st_mtime_ns, time.time())
        present: set[str] = set()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    present.add(entry.name)
                    self._add_entry(entry, listing)
        except OSError as error:
            self._warnings.add(f"{folder} cannot be read: {error.strerror}")
            listing.listed_at = 0.0  # listed again next time, so that the warning stays
            return listing
        listing.is_run = _is_run(folder, present)
        listing.has_unreadable_run = "run.json" in present and not listing.is_run
        # Links come last, so that runs have the names of their own folders.
        listing.folders.sort(key=lambda path: (path.is_symlink(), path))
        listing.files.sort()
        listing.events.sort()
        surplus = [file for file in listing.files if file.suffix == ".json"][_MOST_JSON:]
        if surplus:
            listing.files = [file for file in listing.files if file not in set(surplus)]
        return listing

    def _add_entry(self, entry: os.DirEntry[str], listing: _Listing) -> None:
        name = entry.name
        if name.startswith(".") or name in _SKIPPED:
            return
        try:
            if entry.is_dir():
                if trainer_state.checkpoint_step(name) is not None:
                    listing.checkpoints.append(name)
                elif not name.startswith("checkpoint-"):
                    listing.folders.append(Path(entry.path))
            elif name == mlflow.META:
                listing.has_meta = True
            elif tensorboard.MARK in name and entry.is_file():
                listing.events.append(Path(entry.path))
            elif name.lower().endswith(SUFFIXES) and entry.is_file():
                listing.has_state |= name == trainer_state.STATE
                listing.files.append(Path(entry.path))
        except OSError:
            return  # a broken or circular link

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path != self.root else path.name

    def _location(self, path: Path, kind: str) -> RunLocation:
        made = cast(RunKind, kind)
        if made == "run":
            return RunLocation(path, made, self._relative(path), path.name)
        stem = path.name
        for suffix in (*SUFFIXES, ".metrics", ".trainer_state"):
            stem = stem.removesuffix(suffix)
        if path.suffix in SUFFIXES and (stem in _GENERIC or stem == "trainer_state"):
            path_named = path.parent
            stem = path_named.name
        else:
            path_named = path
        if _NUMBERED.fullmatch(stem) and path_named != self.root:
            stem = self._with_owner(path_named, stem)
        return RunLocation(path, made, self._relative(path), stem or path.name)

    def _with_owner(self, path: Path, name: str) -> str:
        """A numbered folder's name after that of the nearest folder above that names a run."""
        for folder in path.parents:
            if folder != self.root and self.root not in folder.parents:
                break
            if folder.name and folder.name not in _LOG_FOLDERS:
                return f"{folder.name}/{name}" if folder != self.root else name
        return name


def _is_run(folder: Path, present: set[str]) -> bool:
    if "run.json" not in present:
        return False
    # Other tools may write a run.json too; ours is beside other files, or has our format.
    return bool(present & {"state.json", "metrics.jsonl"}) or RunFolder(folder).basics() is not None
