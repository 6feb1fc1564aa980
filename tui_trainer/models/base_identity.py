"""The identity of a base, and the check that an adapter was made for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.models import base_model
from tui_trainer.store import model_files
from tui_trainer.store.runs import checkpoints


@dataclass(frozen=True)
class BaseIdentity:
    """A base; `hash` and `not_finite` are known for local folders only."""

    model: str  # as the user named it: a folder, a Hugging Face id, or "builtin"
    folder: Path | None  # None for a Hugging Face id
    hash: str | None  # SHA-256 of its configuration and weights, hexadecimal
    not_finite: tuple[str, ...] | None = None  # tensors in its files with NaN or infinity


def origin_of(model: str) -> BaseIdentity:
    """Return the identity of a base; a folder is read completely. Raises `UserError` for incomplete
    files."""
    folder = Path(base_model.resolve(model))
    if not folder.is_dir():
        return BaseIdentity(model, None, None)
    files = model_files.inspect_whole(folder)
    return BaseIdentity(model, folder.resolve(), files.hash, files.not_finite)


def check_origin(
    folder: Path, info: AdapterInfo | None, config: dict[str, Any], ours: BaseIdentity
) -> tuple[str, str | None]:
    """Return the base that an adapter names, and its hash where known.

    The hashes are compared where both are known (from `adapter.json`, or from the run whose folder
    this is). Otherwise the names are: a local folder is hashed, two Hugging Face ids must have the
    same last part, which copies of a model keep. Raises `UserError` for another base. Where neither
    decides, only the shapes are checked later.
    """
    named = str(config.get("base_model_name_or_path") or "")
    known = None
    if info is not None:
        named, known = info.base_model, info.base_hash
    else:
        run = checkpoints.run_of(folder)
        trained = run.info() if run is not None else None
        if trained is not None:
            named, known = trained.base_model, trained.base_hash
    if known is None and ours.hash is not None and (path := _model_folder(named)) is not None:
        known = ours.hash if path == ours.folder else model_files.hash_model(path)
    if known is not None and ours.hash is not None:
        differs = known != ours.hash
    else:
        differs = (
            _is_hub_id(named)
            and _is_hub_id(ours.model)
            and _last_part(named) != _last_part(ours.model)
        )
    if differs:
        raise UserError(f"it was made for another base ({named}), not for {ours.model} as it is")
    return named, known


def _model_folder(named: str) -> Path | None:
    path = Path(base_model.resolve(named)) if named else None
    return path.resolve() if path is not None and (path / "config.json").is_file() else None


def _is_hub_id(named: str) -> bool:
    return named.count("/") == 1 and not named.startswith((".", "/", "~"))


def _last_part(named: str) -> str:
    return named.rpartition("/")[2].lower()
