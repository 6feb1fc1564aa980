"""The configurations of a folder's runs, read in the background on request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tui_trainer.watch.error_boundary import caught
from tui_trainer.watch.runs.details.flat_config import config_of
from tui_trainer.watch.snapshots import FolderView, RunSummary


class ConfigLoader:
    """Configurations by path. A run's configuration never changes, so it is read once."""

    def __init__(self, in_background: Callable[[Callable[[], None]], None]) -> None:
        """`in_background` calls a function in another thread."""
        self._in_background = in_background
        self._known: dict[Path, Mapping[str, Any]] = {}
        self._requested: set[Path] = set()

    def get(self, path: Path) -> Mapping[str, Any] | None:
        """A run's configuration; None if it is not read yet."""
        return self._known.get(path)

    def keys(self) -> set[str]:
        """The keys of all known configurations."""
        return {key for config in self._known.values() for key in config}

    def add_known(self, view: FolderView) -> None:
        """Add the configurations that a snapshot contains."""
        for run in (*view.others, *([view.focused] if view.focused is not None else [])):
            if run.config:
                self._known[run.summary.path] = run.config

    def read_missing(self, runs: Iterable[RunSummary], done: Callable[[], object]) -> None:
        """Read the missing ones; `done` is called from the other thread afterwards."""
        paths = [run.path for run in runs if run.kind == "run" and run.path not in self._requested]
        if not paths:
            return
        self._requested.update(paths)

        def work() -> None:
            found = {path: _read(path) for path in paths}
            self._known = {**found, **self._known}  # replaced, not changed: another thread reads it
            done()

        self._in_background(work)


def _read(path: Path) -> Mapping[str, Any]:
    """A run's configuration; empty if it cannot be read, which the run's row reports."""
    try:
        return config_of(path)
    except Exception as error:
        caught(error, path)
        return {}
