"""Which base an adapter was made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_trainer.contracts.adapter import AdapterInfo
from tui_trainer.contracts.errors import UserError
from tui_trainer.models import base_model
from tui_trainer.store import model_files
from tui_trainer.store.runs.run_folder import RunFolder


@dataclass(frozen=True)
class BaseIdentity:
    """A base by the name that the user gave, its folder if it is one, and then the SHA-256 of
    its configuration and weights and the tensors in its files that hold NaN or infinity."""

    model: str
    folder: Path | None
    hash: str | None
    not_finite: tuple[str, ...] | None = None


def origin_of(model: str) -> BaseIdentity:
    """Reads the whole model once where it is a folder. Raises `UserError` where its files are
    not whole."""
    folder = Path(base_model.resolve(model))
    if not folder.is_dir():
        return BaseIdentity(model, None, None)
    files = model_files.inspect_whole(folder)
    return BaseIdentity(model, folder.resolve(), files.hash, files.not_finite)


def check_origin(
    folder: Path, info: AdapterInfo | None, config: dict[str, Any], ours: BaseIdentity
) -> tuple[str, str | None]:
    """The base that an adapter names, and its hash if known.

    Both hashes decide where they are known (from `adapter.json`, or the run whose folder this
    is). Otherwise the names do, as far as they can: a folder that is here is hashed, two hub
    ids must have the same last part (copies of a model keep it). Raises `UserError` for
    another base; what cannot be told apart is left to the shapes.
    """
    named = str(config.get("base_model_name_or_path") or "")
    known = None
    if info is not None:
        named, known = info.base_model, info.base_hash
    else:
        run = RunFolder(folder.resolve().parent).info()
        if run is not None and folder.name == "adapter":
            named, known = run.base_model, run.base_hash
    if known is None and ours.hash is not None and (path := _model_folder(named)) is not None:
        known = ours.hash if path == ours.folder else model_files.hash_model(path)
    if known is not None and ours.hash is not None:
        other = known != ours.hash
    else:
        other = _is_hub_id(named) and _is_hub_id(ours.model) and _last(named) != _last(ours.model)
    if other:
        raise UserError(f"it was made for another base ({named}), not for {ours.model} as it is")
    return named, known


def _model_folder(named: str) -> Path | None:
    path = Path(base_model.resolve(named)) if named else None
    return path.resolve() if path is not None and (path / "config.json").is_file() else None


def _is_hub_id(named: str) -> bool:
    return named.count("/") == 1 and not named.startswith((".", "/", "~"))


def _last(named: str) -> str:
    return named.rpartition("/")[2].lower()
