"""The name of a base that means the same on another machine: an id, never a path."""

from __future__ import annotations

from pathlib import Path

from tui_trainer.contracts.runs.run import RunInfo

_CACHED = "models--"  # start of a model's folder in Hugging Face's cache


def portable(info: RunInfo) -> str:
    """The Hugging Face id of a run's base where it has one, "builtin", else the name of its
    folder."""
    if info.base_path is None or info.base_model == "builtin":
        return info.base_model
    folder = Path(info.base_path)
    return hub_id(folder) or folder.name


def hub_id(folder: Path) -> str | None:
    """The id of a model in Hugging Face's cache (`models--OWNER--NAME/snapshots/REVISION`)."""
    if folder.parent.name != "snapshots" or not folder.parent.parent.name.startswith(_CACHED):
        return None
    return folder.parent.parent.name.removeprefix(_CACHED).replace("--", "/", 1)
