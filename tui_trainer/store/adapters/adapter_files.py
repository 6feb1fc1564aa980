"""The files of one adapter's folder: PEFT's files, `adapter.json`, and their verification."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of
from tui_trainer.contracts.job import Task
from tui_trainer.contracts.teaching.adapter import SCHEMA, AdapterInfo
from tui_trainer.store import atomic, tensor_files
from tui_trainer.store.regular_files import without_mark

INFO = "adapter.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
USAGE = "usage.json"
LABELS = "labels.json"
_NEEDED = (WEIGHTS, CONFIG)
_OPTIONAL = ("README.md", LABELS)


class _Labels(msgspec.Struct, frozen=True):
    """`labels.json`."""

    id2label: dict[int, str]  # names of a classifier's classes by index


class _Peft(msgspec.Struct, frozen=True):
    """What this module needs of PEFT's configuration."""

    task_type: str | None = None


def _content(file: Path) -> bytes:
    return without_mark(file.read_bytes())


def read_info(folder: Path) -> AdapterInfo | None:
    """The content of `adapter.json` with the folder's name and its task, which earlier versions did
    not write, or None if there is no adapter."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        info = msgspec.json.decode(_content(folder / INFO), type=AdapterInfo)
        return msgspec.structs.replace(info, name=folder.name, task=task(folder))
    return None


def labels(folder: Path) -> list[str]:
    """The names of a classifier's classes by index; empty if the adapter does not name them."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        names = msgspec.json.decode(_content(folder / LABELS), type=_Labels, strict=False)
        return [names.id2label[index] for index in sorted(names.id2label)]
    return []


def write_labels(folder: Path, labels: Sequence[str]) -> None:
    """Write the names of a classifier's classes."""
    names = {str(index): label for index, label in enumerate(labels)}
    atomic.write_json(folder / LABELS, {"id2label": names})


def task(folder: Path) -> Task:
    """What the adapter in a folder was trained for."""
    if (folder / LABELS).is_file():
        return "classification"
    with contextlib.suppress(OSError, *BAD_CONTENT):
        config = msgspec.json.decode(_content(folder / CONFIG), type=_Peft)
        return "classification" if config.task_type == "SEQ_CLS" else "causal-lm"
    return "causal-lm"


def size(folder: Path) -> int:
    """Size of the folder's files in bytes, without those of its evaluations."""
    total = 0
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            if file.is_file():
                total += file.stat().st_size
    return total


def problem(folder: Path) -> str | None:
    """Why an adapter cannot be used, part of a sentence; None if every byte is as saved."""
    info = read_info(folder)
    if info is None:
        return f"its {INFO} cannot be read"
    if info.schema > SCHEMA:
        return f"it was written by a newer version of tui-trainer (schema {info.schema})"
    for name in (*_NEEDED, *info.files):
        if not (folder / name).is_file():
            return f"{name} is missing"
    try:
        for name, expected in info.files.items():
            if _hash(folder / name) != expected:
                return f"{name} has changed since it was saved: its SHA-256 differs"
    except OSError as error:
        return _unreadable(error)
    return weights_problem(folder)


def _unreadable(error: OSError) -> str:
    """Why a file cannot be read; an error of a read, unlike one of opening, names no file."""
    name = Path(error.filename).name if error.filename else "a file"
    return f"{name} cannot be read: {reason_of(error)}"


def weights_problem(folder: Path) -> str | None:
    """Why PEFT's files cannot be used, part of a sentence, or None; does not load the weights."""
    try:
        config = msgspec.json.decode(_content(folder / CONFIG))
        kind = config.get("peft_type") if isinstance(config, dict) else None
        if kind != "LORA":
            return f"{CONFIG} has the peft_type {kind!r}, but only LORA is supported"
        tensor_files.read_header(folder / WEIGHTS)
    except BAD_CONTENT:
        return f"{CONFIG} is not valid JSON"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return _unreadable(error)
    except tensor_files.DamagedError as error:
        return str(error)
    return None


def copy_in(source: Path, target: Path, info: AdapterInfo, labels: Sequence[str] = ()) -> None:
    """Copy an adapter's files into the new folder `target`, then write its `adapter.json`.

    `labels` are written where `source` does not have them. Everything is flushed to the disk.
    Raises `UserError` if the adapter cannot be used.
    """
    wrong = weights_problem(source)
    if wrong:
        raise UserError(f"the adapter in {source} cannot be used: {wrong}")
    target.mkdir(mode=0o700)
    present = [*_NEEDED, *(name for name in _OPTIONAL if (source / name).is_file())]
    for name in present:
        atomic.write_bytes(target / name, (source / name).read_bytes())
    if labels and LABELS not in present:
        write_labels(target, labels)
        present.append(LABELS)
    hashes = {name: _hash(target / name) for name in present}
    # The source may have changed during the copy.
    wrong = weights_problem(target)
    if wrong:
        raise UserError(f"the adapter in {source} cannot be used: {wrong}")
    write_info(target, msgspec.structs.replace(info, files=hashes))


def copy_out(source: Path, target: Path) -> None:
    """Copy an adapter's files, without its usage count, into the new folder `target`."""
    target.mkdir(mode=0o700)
    for name in (*_NEEDED, *_OPTIONAL, INFO):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            (target / name).chmod(atomic.PRIVATE)


def write_info(folder: Path, info: AdapterInfo) -> None:
    """Replace `adapter.json`."""
    atomic.write_json(folder / INFO, info)


def queries(folder: Path) -> int:
    """Number of questions that the adapter has answered."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        return msgspec.json.decode(_content(folder / USAGE), type=dict[str, int])["queries"]
    return 0


def count_query(folder: Path) -> None:
    """Add one to the number of answered questions."""
    values = {"queries": queries(folder) + 1}
    atomic.write_bytes(folder / USAGE, msgspec.json.encode(values), durable=False)


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
