"""The reports of evaluations in the folder of a run or an adapter: `evaluations/NAME.json`."""

from __future__ import annotations

import contextlib
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.store import atomic, paths
from tui_trainer.store.regular_files import read_regular

FOLDER = "evaluations"


def files_in(folder: Path) -> list[Path]:
    """The files of the reports in a folder of evaluations, by name."""
    with contextlib.suppress(OSError):
        return sorted(folder.glob("*.json"))
    return []


def read_scores(folder: Path) -> tuple[EvaluationScores, ...]:
    """The scores of every report in a folder of evaluations, the newest first; files that are no
    reports are left out."""
    found = [scores for file in files_in(folder) if (scores := _read(file)) is not None]
    return tuple(sorted(found, key=lambda item: (-item.time, item.name)))


def copy_measured(source: Path, target: Path, adapter: Path) -> None:
    """Copy the reports in `source` that measured the weights of the folder `adapter` as they are
    now into the folder `target`. Raises `OSError`."""
    changed_at = max(file.stat().st_mtime for file in adapter.glob("*.safetensors"))
    for file in files_in(source):
        scores = _read(file)
        if scores is None or scores.adapter is None or scores.time < changed_at:
            continue
        if Path(scores.adapter).resolve() == adapter.resolve():
            paths.make_private_dir(target)
            atomic.write_bytes(target / file.name, read_regular(file))


def _read(file: Path) -> EvaluationScores | None:
    with contextlib.suppress(OSError, *BAD_CONTENT):
        return msgspec.json.decode(read_regular(file), type=EvaluationScores)
    return None
