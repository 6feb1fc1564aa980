"""Importing adapters into the store."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.adapter import AdapterInfo
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import LoraSettings
from tui_trainer.contracts.run import RunInfo
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs.run_folder import RunFolder


def add_from(store: AdapterStore, source: Path, name: str | None = None) -> Path:
    """Copy the adapter of a run folder, or of any folder in PEFT's format, into the store.

    Returns its folder there. Without a `name` it gets the name of the run or the folder, with a
    number if that is taken. Raises `UserError`.
    """
    folder, run = _locate(source)
    wrong = adapter_files.weights_problem(folder)
    if wrong:
        raise UserError(f"the adapter in {folder} cannot be used: {wrong}")
    own = adapter_files.read_info(folder)
    facts = own or (_of_run(run) if run else _of_config(folder))
    wanted = name or _name(own.name if own else run.name if run else folder.name)
    info = msgspec.structs.replace(facts, name=wanted, created_at=time.time())
    return store.add(folder, info, add_number=name is None)


def _locate(source: Path) -> tuple[Path, RunInfo | None]:
    """The adapter's folder, and `run.json` of the run that trained it, if any."""
    for run in (RunFolder(source), RunFolder(source.absolute().parent)):
        info = run.info()
        if info is not None and source.absolute() in (run.path.absolute(), run.adapter_dir):
            if not run.adapter_dir.is_dir():
                raise UserError(f"run {run.path.name} is {run.status()} and has no adapter yet")
            return run.adapter_dir, info
    if not source.is_dir():
        raise UserError(f"{source} is not a folder; give a run or an adapter's folder")
    return source, None


def _of_run(run: RunInfo) -> AdapterInfo:
    return AdapterInfo(
        name="",
        created_at=0.0,
        base_model=run.base_model,
        base_hash=run.base_hash,
        data_hash=run.data_hash,
        run_id=run.id,
        lora=run.job.lora,
    )


def _of_config(folder: Path) -> AdapterInfo:
    """Facts from PEFT's configuration, which has only the base's name."""
    config: dict[str, Any] = msgspec.json.decode((folder / adapter_files.CONFIG).read_bytes())
    base = config.get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise UserError(f"{folder / adapter_files.CONFIG} does not name its base model")
    values = {
        "rank": config.get("r"),
        "alpha": config.get("lora_alpha"),
        "dropout": config.get("lora_dropout", 0.0),
        "target_modules": config.get("target_modules"),
    }
    try:
        lora = msgspec.convert(values, LoraSettings, strict=True)
    except msgspec.ValidationError as error:
        raise UserError(f"{folder / adapter_files.CONFIG}: {error}") from None
    return AdapterInfo(name="", created_at=0.0, base_model=base, base_hash=None, lora=lora)


def _name(wanted: str) -> str:
    """`wanted`, changed to a valid name of an adapter."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", wanted).strip("-_")
    return name[:90] or "adapter"
