"""Finds a run by its path, id or name."""

from __future__ import annotations

import os
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.runs import run_folder as store
from tui_trainer.text import formats
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_summary import SummaryReader
from tui_trainer.watch.scan import FoundRun, Scanner
from tui_trainer.watch.snapshots import RunSummary

_NAMED = 5


def find_all(root: Path) -> tuple[list[SummaryReader], list[str]]:
    """Every run below a folder, newest first, and warnings, one sentence each."""
    found = _scan(root)
    summaries, warnings = [], list(found.warnings)
    for location in found.locations.values():
        reader = SummaryReader(location)
        reader.read()
        summaries.append(reader)
    summaries.sort(key=lambda reader: (-reader.order, str(reader.location.path)))
    return summaries, warnings


def find_location(reference: str, runs_dir: Path) -> RunLocation:
    """The run with a path, or with an id or name inside `runs_dir`; the newest one where several
    share a name. Raises `UserError`."""
    try:
        folder = store.find_run(reference, runs_dir)
    except UserError as error:
        return _find_other(reference, runs_dir, error)
    path = folder.path.absolute()
    return RunLocation(path, "run", path.name, path.name)


def location_of(run: RunSummary) -> RunLocation:
    """The location of a run of the list."""
    part = str(run.path).partition("#run=")[2]
    return RunLocation(run.path, run.kind, run.id, run.name, part)


def _find_other(reference: str, runs_dir: Path, error: UserError) -> RunLocation:
    """Another tool's run, by its path, its name or its location below the folder."""
    path = Path(reference).expanduser()
    if path.exists():
        return _only_one(path)
    found = find_all(runs_dir)[0] if runs_dir.is_dir() else []
    for reader in found:
        location = reader.location
        if reference in (location.id, location.name, reader.summary.id, reader.summary.name):
            return location
    if runs_dir.joinpath(reference).exists():
        return _only_one(runs_dir / reference)
    if os.sep in reference:
        raise UserError(f"{reference} does not exist; name a run, or a run's folder or file")
    if not found:
        raise error
    names = ", ".join(dict.fromkeys(reader.summary.name for reader in found[:_NAMED]))
    raise UserError(f"no run {reference!r} in {runs_dir}; the newest there: {names}")


def _only_one(path: Path) -> RunLocation:
    absolute = path.absolute()
    found = Scanner(absolute).scan()
    if absolute in found.locations:
        return found.locations[absolute]
    if len(found.locations) == 1:
        return next(iter(found.locations.values()))
    if found.problem is not None:
        raise UserError(found.problem)
    if not found.locations:
        raise UserError(f"{path} is not a run folder: it has no run.json and no metrics")
    names = ", ".join(location.id for location in list(found.locations.values())[:_NAMED])
    raise UserError(
        f"{path} contains {formats.plural(len(found.locations), 'run')}; name one of them, such "
        f"as {names}"
    )


def _scan(root: Path) -> FoundRun:
    """The runs below a folder, including run folders whose `run.json` cannot be read."""
    found = Scanner(root.expanduser().absolute()).scan()
    for folder in store.list_runs(root):
        path = folder.path.absolute()
        if path not in found.locations:
            found.locations[path] = RunLocation(path, "run", path.name, path.name)
    return found
