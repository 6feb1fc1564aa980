"""The journal of an evaluation: results are appended as they are made, so that an interrupted
evaluation continues where it ended."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import (
    EvaluationRequest,
    JournalAnswer,
    JournalClass,
    JournalItem,
    JournalLine,
    JournalLoss,
    JournalStart,
)
from tui_trainer.store import jsonl, paths

_KEPT = 60  # journals; the oldest are deleted


@dataclass
class Journal:
    """What a journal has so far, by row."""

    start: JournalStart | None = None
    items: dict[int, JournalItem] = field(default_factory=dict)
    losses: dict[int, JournalLoss] = field(default_factory=dict)
    answers: dict[int, JournalAnswer] = field(default_factory=dict)
    classes: dict[int, JournalClass] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether all rows of the data are in it."""
        return self.start is not None and len(self.items) == self.start.rows

    def measured(self, phase: str) -> int:
        """The number of rows that are in it of a phase: `losses`, `answers` or `classes`."""
        if phase == "losses":
            return len(self.losses)
        return len(self.answers if phase == "answers" else self.classes)


def read(file: Path) -> Journal:
    """Read a journal; an empty one where the file is absent. Lines that a kill cut off, or that
    belong to another version, are measured again."""
    found = Journal()
    try:
        lines: list[JournalLine] = jsonl.read_records(file, JournalLine).records
    except FileNotFoundError:
        return found
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}", 1) from None
    for line in lines:
        if isinstance(line, JournalStart):
            found.start = line
        elif isinstance(line, JournalItem):
            found.items[line.row] = line
        elif isinstance(line, JournalLoss):
            found.losses[line.row] = line
        elif isinstance(line, JournalAnswer):
            found.answers[line.row] = line
        else:
            found.classes[line.row] = line
    return found


def file_of(request: EvaluationRequest, data_hash: str) -> Path:
    """Return the journal's file of a request: the same for the same model, adapter, data and
    settings, so that nothing is measured twice."""
    settings = msgspec.structs.replace(
        request, journal="", losses=True, answers=True, needs_answers=None, files=[]
    )
    return path_of(settings, [request.model, request.adapter], data_hash.encode())


def path_of(settings: msgspec.Struct, models: Sequence[str | None], data: bytes) -> Path:
    """Return the journal's file for these settings, models and data. Its folder is made, and old
    journals in it are deleted."""
    folder = paths.make_private_dir(paths.cache_dir() / "evaluations")
    parts = [msgspec.json.encode(settings), data]
    for place in models:
        if place is not None:
            local = paths.builtin_model() if place == "builtin" else Path(place)
            parts.append(repr(_stamp(local)).encode())
    name = hashlib.sha256(b"\0".join(parts)).hexdigest()[:24]
    file = folder / f"{name}.jsonl"
    with contextlib.suppress(OSError):
        old = sorted(folder.glob("*.jsonl"), key=lambda found: found.stat().st_mtime)
        for outdated in old[:-_KEPT]:
            outdated.unlink(missing_ok=True)
    return file


def _stamp(folder: Path) -> list[tuple[str, int, int]]:
    """Return what changes when a file of the folder is written again: name, size, time."""
    found = []
    with contextlib.suppress(OSError):
        for file in sorted(folder.iterdir()):
            if file.suffix in (".safetensors", ".json", ".jinja", ".model", ".txt"):
                status = file.stat()
                found.append((file.name, status.st_size, status.st_mtime_ns))
    return found
