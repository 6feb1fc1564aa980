"""A model's folder: its hash, and whether its weights are complete and finite."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import tensor_files
from tui_trainer.store.tensor_files import DamagedError
from tui_trainer.text import formats

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
# Bytes of a value by type, of those that loading converts to another precision.
_FLOAT_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}


@dataclass(frozen=True)
class ModelFiles:
    """The result of reading a model's folder."""

    hash: str  # SHA-256 of its configuration and weights, not of its tokenizer
    # Tensors in the files that contain NaN or infinity; the architecture may not use all of them.
    not_finite: tuple[str, ...] = ()
    problem: str | None = None  # why the weights cannot be loaded, part of a sentence; None: none


def inspect(folder: Path) -> ModelFiles:
    """Read every byte of a model's configuration and weights, once.

    Raises `UserError` if a file cannot be read.
    """
    problem = None
    try:
        loaded = _loaded_files(folder)
    except DamagedError as error:
        loaded, problem = [], str(error)
    whole = hashlib.sha256()
    not_finite: list[str] = []
    try:
        for file in (folder / CONFIG, *sorted(folder.glob("*.safetensors"))):
            if not file.is_file():
                continue
            if file in loaded:
                try:
                    digest, found = tensor_files.hash_and_check(file)
                    not_finite += found
                except DamagedError as error:
                    problem, digest = problem or str(error), _hash(file)
            else:
                digest = _hash(file)
            whole.update(digest.encode())
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be read: {error.strerror}") from None
    return ModelFiles(whole.hexdigest(), tuple(not_finite), problem)


def inspect_whole(folder: Path) -> ModelFiles:
    """As `inspect`, but also raise `UserError` if the weights are not complete."""
    found = inspect(folder)
    if found.problem is not None:
        raise UserError(
            f"the model in {folder} cannot be used: {found.problem}; copy or download it again"
        )
    return found


def hash_model(folder: Path) -> str:
    """SHA-256 of a model folder's configuration and weights (not of its tokenizer)."""
    return inspect(folder).hash


def loaded_bytes(folder: Path, per_value: float) -> int:
    """Bytes of a model's weights in memory where floating-point values take `per_value` each; 0 for
    a folder whose weights are not complete."""
    total = 0.0
    try:
        for file in _loaded_files(folder):
            for tensor in tensor_files.read_header(file).tensors:
                size = tensor.end - tensor.begin
                width = _FLOAT_BYTES.get(tensor.dtype)
                total += size if width is None else size / width * per_value
    except (DamagedError, OSError):
        return 0
    return round(total)


def _loaded_files(folder: Path) -> list[Path]:
    """The files that transformers loads; the folder may contain other safetensors files.

    Raises `DamagedError` if there are none, or if the index is damaged or names a missing file.
    """
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickled = next(folder.glob("pytorch_model*.bin"), None)
        if pickled is not None:
            raise DamagedError(
                f"its weights are in {pickled.name}, a pickle, which is not loaded for security; "
                "save them as safetensors"
            )
        raise DamagedError(f"it has no {WEIGHTS}")
    try:
        index: Any = msgspec.json.decode((folder / INDEX).read_bytes())
        names = sorted({str(name) for name in index["weight_map"].values()})
    except OSError as error:
        raise DamagedError(f"{INDEX} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{INDEX} is not a list of files by tensor") from None
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        more = f" and {formats.count(len(missing) - 1)} more" if len(missing) > 1 else ""
        verb = "are" if more else "is"
        raise DamagedError(
            f"{missing[0]}{more} of the {formats.count(len(names))} files in {INDEX} {verb} missing"
        )
    return [folder / name for name in names]


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
