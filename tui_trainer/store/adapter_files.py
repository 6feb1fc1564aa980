"""One adapter's folder: PEFT's files, our facts beside them, and whether they are whole."""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.adapter import SCHEMA, AdapterInfo
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.store import atomic

INFO = "adapter.json"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
USAGE = "usage.json"
_NEEDED = (WEIGHTS, CONFIG)
_OPTIONAL = ("README.md",)
# Bytes per element of the types that safetensors knows and an adapter may have.
_WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1,
           "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}  # fmt: skip
_HEADER_LIMIT = 100_000_000  # bytes; safetensors' own


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
        return _header_problem(folder / WEIGHTS)
    except BAD_CONTENT:
        return f"{CONFIG} is not valid JSON"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{Path(error.filename).name} cannot be read: {error.strerror}"


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


def _header_problem(file: Path) -> str | None:
    """Whether a safetensors file's header and its size tell the same."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        total = file.stat().st_size
        if not 2 <= length <= min(_HEADER_LIMIT, total - 8):
            return f"{file.name} is cut off or no safetensors file"
        try:
            header = msgspec.json.decode(stream.read(length), type=dict[str, Any])
        except BAD_CONTENT:
            return f"{file.name} is no safetensors file: its header is not valid JSON"
    header.pop("__metadata__", None)
    if not header:
        return f"{file.name} holds no weights"
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: _offsets(item[1])):
        begin, after = _offsets(entry)
        if begin != end or after - begin != _bytes_of(entry):
            return f"{file.name} is damaged: the size of {name} does not fit"
        end = after
    if 8 + length + end != total:
        return f"{file.name} is cut off: {8 + length + end:,} bytes are expected, {total:,} there"
    return None


def _offsets(entry: Any) -> tuple[int, int]:
    """Where a tensor lies, or (-1, -1) where the entry does not say."""
    try:
        begin, end = entry["data_offsets"]
        return int(begin), int(end)
    except (TypeError, ValueError, KeyError):
        return -1, -1


def _bytes_of(entry: Any) -> int:
    """What a tensor of that type and shape takes, or -1 where it is none."""
    try:
        return int(_WIDTHS[entry["dtype"]] * math.prod(entry["shape"]))
    except (TypeError, KeyError):
        return -1


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
