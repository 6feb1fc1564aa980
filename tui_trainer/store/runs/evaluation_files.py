"""The reports of evaluations in the folder of a run or an adapter: `evaluations/NAME.json`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.store import atomic, paths
from tui_trainer.store.regular_files import open_regular, read_regular

FOLDER = "evaluations"
_HEAD_BYTES = 64 * 1024  # of a larger report, whose rows are not read
_END_BYTES = 64
# Where the rows begin in the indented JSON of `atomic.write_json`; a text has no line breaks there.
_ROWS = b'\n  "items": ['


class FoundScores(NamedTuple):
    """The scores in a folder of evaluations."""

    scores: tuple[EvaluationScores, ...] = ()  # of every report, the newest first
    unreadable: tuple[str, ...] = ()  # names of the files that cannot be read as reports


def files_in(folder: Path) -> list[Path]:
    """The files of the reports in a folder of evaluations, by name."""
    with contextlib.suppress(OSError):
        return sorted(folder.glob("*.json"))
    return []


def read_folder(folder: Path) -> FoundScores:
    """The scores of every report in a folder of evaluations. A report is read once until its file
    changes."""
    found, unreadable = [], []
    for file in files_in(folder):
        scores = _read(file)
        if scores is None:
            unreadable.append(file.name)
        else:
            found.append(scores)
    return FoundScores(
        tuple(sorted(found, key=lambda item: (-item.time, item.name))), tuple(unreadable)
    )


def read_scores(folder: Path) -> tuple[EvaluationScores, ...]:
    """As `read_folder`, without the names of the files that cannot be read."""
    return read_folder(folder).scores


def unreadable_text(names: Sequence[str]) -> str:
    """The sentence on files that cannot be read as reports."""
    files = ", ".join(f"{FOLDER}/{name}" for name in names)
    what, them = ("a report", "it") if len(names) == 1 else ("reports", "them")
    return (
        f"{files} cannot be read as {what}: delete {them}, or measure again with "
        "tui-trainer evaluate"
    )


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
    with contextlib.suppress(OSError):
        status = file.stat()
        return _decoded(file, (status.st_ino, status.st_size, status.st_mtime_ns))
    return None


@lru_cache(maxsize=2048)
def _decoded(file: Path, version: tuple[int, ...]) -> EvaluationScores | None:
    """The scores of a report, None if the content is no report; `version` changes when the file is
    replaced. Raises `OSError`."""
    data = _without_rows(file)
    with contextlib.suppress(*BAD_CONTENT):
        return msgspec.json.decode(
            read_regular(file) if data is None else data, type=EvaluationScores
        )
    return None


def _without_rows(file: Path) -> bytes | None:
    """A large report of a file as JSON without its rows; None where it must be read completely:
    it is small, is not complete, or is of tasks, whose versions come after the rows. Raises
    `OSError`."""
    with open_regular(file) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size <= _HEAD_BYTES:
            return None
        head, rows, _ = stream.read(_HEAD_BYTES).partition(_ROWS)
        stream.seek(size - _END_BYTES)
        is_complete = stream.read(_END_BYTES).endswith((b"\n}", b"\n}\n"))
    if not rows or not is_complete or b'\n  "files": []' in head:
        return None
    return head.rstrip().removesuffix(b",") + b"}"
