"""Where a run is stored, and what kind of run it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.snapshots import RunKind


@dataclass(frozen=True)
class RunLocation:
    """The path, kind and name of a run."""

    path: Path  # of a run in a database: the database's path with `#run=` and `part`
    kind: RunKind
    id: str  # its path below the watched folder
    name: str
    part: str = ""  # the run's id in its database

    @property
    def metrics(self) -> Path:
        """The metrics file, or the folder with the metrics files."""
        if self.kind == "run":
            return RunFolder(self.path).metrics_file
        if self.part:
            return Path(str(self.path).partition("#run=")[0])
        return self.path
