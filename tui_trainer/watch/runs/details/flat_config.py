"""The configuration of a run, flattened to `section.key` and value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.runs.run import LoopInfo, RunBasics, RunInfo
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.tables.flatten import flat


def config_of(path: Path) -> dict[str, Any]:
    """The flat configuration of a run folder; empty where it has none."""
    folder = RunFolder(path)
    return flat_config(folder.info() or folder.loop_info())


def flat_config(info: RunBasics | None) -> dict[str, Any]:
    """The configuration in the order of the file, without names and paths, which differ between
    any two runs."""
    if isinstance(info, LoopInfo):
        return {"program": info.program, **flat(info.config), **_versions(info)}
    if not isinstance(info, RunInfo):
        return {}
    job = msgspec.to_builtins(info.job)
    job.pop("name", None)
    if job["advisor"] is None:
        del job["advisor"]  # the default
    if not job["samples"]["prompts"]:
        del job["samples"]  # it has no effect
    inputs = {
        "base.hash": info.base_hash,
        "data.hash": info.data_hash,
        "resumed_from": info.resumed_from,
    }
    return {**flat(job), **inputs, **_versions(info)}


def _versions(info: RunBasics) -> dict[str, str]:
    return {f"versions.{name}": version for name, version in info.versions.items()}
