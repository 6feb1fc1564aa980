"""Where a run is stored, and what kind of run it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.snapshots import RunKind


@dataclass(frozen=True)
class RunLocation:
    """Where a run lies and what it is called: `id` is its path below the watched folder.

    A run in a database has the database's path with `#` and `part`, its id there.
    """

    path: Path
    kind: RunKind
    id: str
    name: str
    part: str = ""

    @property
    def metrics(self) -> Path:
        """The file of metrics, or the folder of their files."""
        if self.kind == "run":
            return RunFolder(self.path).metrics_file
        if self.part:
            return Path(str(self.path).partition("#run=")[0])
        return self.path
