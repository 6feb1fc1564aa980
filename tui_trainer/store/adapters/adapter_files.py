"""One adapter's folder: PEFT's files, our facts beside them, and whether they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from pathlib import Path

import msgspec

from tui_trainer.contracts.adapter import SCHEMA, AdapterInfo
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.store import atomic, tensor_files

INFO = "adapter.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
USAGE = "usage.json"
_NEEDED = (WEIGHTS, CONFIG)
_OPTIONAL = ("README.md",)


def read_info(folder: Path) -> AdapterInfo | None:
    """The adapter's facts under the folder's own name, or None where there is no adapter."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        info = msgspec.json.decode((folder / INFO).read_bytes(), type=AdapterInfo)
        return msgspec.structs.replace(info, name=folder.name)
    return None


def size(folder: Path) -> int:
    """Bytes of the folder's files."""
    total = 0
    with contextlib.suppress(OSError):
        for file in folder.iterdir():
            total += file.stat().st_size
    return total


def problem(folder: Path) -> str | None:
    """What keeps an adapter from being used, in words, or None where every byte is as it was."""
    info = read_info(folder)
    if info is None:
        return f"it has no readable {INFO}"
    if info.schema > SCHEMA:
        return f"it was made by a newer version of tui-trainer (schema {info.schema})"
    for name in (*_NEEDED, *info.files):
        if not (folder / name).is_file():
            return f"{name} is missing"
    try:
        for name, expected in info.files.items():
            if _hash(folder / name) != expected:
                return f"{name} is not what was saved: its SHA-256 differs"
    except OSError as error:
        return f"{Path(error.filename).name} cannot be read: {error.strerror}"
    return weights_problem(folder)


def weights_problem(folder: Path) -> str | None:
    """What is wrong with PEFT's own files, in words, without loading the weights."""
    try:
        config = msgspec.json.decode((folder / CONFIG).read_bytes())
        kind = config.get("peft_type") if isinstance(config, dict) else None
        if kind != "LORA":
            return f"{CONFIG} is of the type {kind!r}; LORA is needed"
        tensor_files.read_header(folder / WEIGHTS)
    except BAD_CONTENT:
        return f"{CONFIG} is not valid JSON"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{Path(error.filename).name} cannot be read: {error.strerror}"
    except tensor_files.DamagedError as error:
        return str(error)
    return None


def copy_in(source: Path, target: Path, info: AdapterInfo) -> None:
    """Copies an adapter's files into the new folder `target` and writes its facts, last.

    Everything is flushed to the disk. Raises `UserError` where `source` is no whole adapter.
    """
    wrong = weights_problem(source)
    if wrong:
        raise UserError(f"{source} holds no adapter that can be used: {wrong}")
    target.mkdir(mode=0o700)
    present = [*_NEEDED, *(name for name in _OPTIONAL if (source / name).is_file())]
    for name in present:
        atomic.write_bytes(target / name, (source / name).read_bytes())
    hashes = {name: _hash(target / name) for name in present}
    # The source may have changed while it was copied.
    wrong = weights_problem(target)
    if wrong:
        raise UserError(f"{source} holds no adapter that can be used: {wrong}")
    write_info(target, msgspec.structs.replace(info, files=hashes))


def copy_out(source: Path, target: Path) -> None:
    """Copies an adapter's own files (not how often it was used) into the new folder `target`."""
    target.mkdir(mode=0o700)
    for name in (*_NEEDED, *_OPTIONAL, INFO):
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
            (target / name).chmod(atomic.PRIVATE)


def write_info(folder: Path, info: AdapterInfo) -> None:
    """Replaces the adapter's facts."""
    atomic.write_json(folder / INFO, info)


def queries(folder: Path) -> int:
    """How many questions it has answered."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        return msgspec.json.decode((folder / USAGE).read_bytes(), type=dict[str, int])["queries"]
    return 0


def count_query(folder: Path) -> None:
    """One more question answered."""
    values = {"queries": queries(folder) + 1}
    atomic.write_bytes(folder / USAGE, msgspec.json.encode(values), durable=False)


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
