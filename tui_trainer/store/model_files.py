"""A model's folder: the hash that names it, and whether its weights are whole and finite."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import tensor_files
from tui_trainer.store.tensor_files import DamagedError

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class ModelFiles:
    """What one reading of a model's folder finds.

    hash: SHA-256 of its configuration and weights, not of its tokenizer.
    not_finite: names in the files of the tensors that hold NaN or infinity. Whether the
        architecture uses them is known only once the model is loaded.
    problem: what keeps the weights from being loaded, as part of a sentence; None where the
        files are whole.
    """

    hash: str
    not_finite: tuple[str, ...] = ()
    problem: str | None = None


def inspect(folder: Path) -> ModelFiles:
    """Reads every byte of a model's configuration and weights once.

    Raises `UserError` where a file cannot be read.
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
    """As `inspect`, but raises `UserError` also where the weights are not whole."""
    found = inspect(folder)
    if found.problem is not None:
        raise UserError(
            f"the model in {folder} cannot be used: {found.problem}; copy or download it again"
        )
    return found


def hash_model(folder: Path) -> str:
    """One SHA-256 over a model folder's configuration and weights (not its tokenizer)."""
    return inspect(folder).hash


def _loaded_files(folder: Path) -> list[Path]:
    """The files that transformers loads: other safetensors files may lie beside them. Raises
    `DamagedError` where there are none, and where the index cannot be used or names a file that
    is missing."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        pickled = next(folder.glob("pytorch_model*.bin"), None)
        if pickled is not None:
            raise DamagedError(
                f"its weights are in {pickled.name}, a pickle, which is never loaded; save them as "
                "safetensors"
            )
        raise DamagedError(f"it has no {WEIGHTS}")
    try:
        index: Any = msgspec.json.decode((folder / INDEX).read_bytes())
        names = sorted({str(name) for name in index["weight_map"].values()})
    except OSError as error:
        raise DamagedError(f"{INDEX} cannot be read: {error.strerror}") from None
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        raise DamagedError(f"{INDEX} is no list of files by tensor") from None
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        more = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        verb = "are" if more else "is"
        raise DamagedError(
            f"{missing[0]}{more} of the {len(names):,} files in {INDEX} {verb} absent"
        )
    return [folder / name for name in names]


def _hash(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
