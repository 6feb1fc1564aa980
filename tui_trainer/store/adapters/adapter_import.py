"""Importing adapters into the store."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.contracts.job import LoraSettings
from tui_trainer.contracts.runs.run import ENDED_STATES, RunInfo
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store import jobs, model_files, paths
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs import checkpoint_scores, checkpoints, evaluation_files
from tui_trainer.store.runs.run_folder import RunFolder


def add_from(
    store: AdapterStore, source: Path, name: str | None = None, base: str | None = None
) -> Path:
    """Copy the adapter of a run, of a run's checkpoint, or of any folder in PEFT's format, into the
    store.

    Returns its folder there. Without a `name` it gets the name of the run (with a checkpoint's
    step) or the folder, with a number if that is taken. `base` is the base on this machine, for an
    adapter from elsewhere. Raises `UserError`.
    """
    found = read_source(source)
    facts = found.info
    if base is not None:
        facts = _on_base(facts, base)
    wanted = name or _name(facts.name or found.folder.name)
    info = msgspec.structs.replace(facts, name=wanted, created_at=time.time())
    added = store.add(found.folder, info, labels=found.labels, add_number=name is None)
    _copy_evaluations(source, found.folder, added)
    return added


def _copy_evaluations(source: Path, folder: Path, added: Path) -> None:
    """Copy the evaluations of the adapter that is now in `added`: those that its run has, or its
    own. Raises `UserError`."""
    run = RunFolder(source) if RunFolder(source).info() else checkpoints.run_of(folder)
    measured = folder if run is None else run.path
    try:
        evaluation_files.copy_measured(
            measured / evaluation_files.FOLDER, added / evaluation_files.FOLDER, folder
        )
    except OSError as error:
        raise UserError(
            f"adapter {added.name!r} is added, but its evaluations in {measured} cannot be copied: "
            f"{reason_of(error)}",
            1,
        ) from None


class AdapterSource(NamedTuple):
    """An adapter outside the store."""

    folder: Path  # of its files
    info: AdapterInfo
    labels: list[str]  # names of a classifier's classes by index; empty for other adapters
    trust_remote_code: bool = False  # whether its run trusted the base's own Python code


def read_source(source: Path) -> AdapterSource:
    """The adapter of a run, of a run's checkpoint, or of any folder in PEFT's format. Raises
    `UserError`."""
    folder, run = _locate(source)
    wrong = adapter_files.weights_problem(folder)
    if wrong:
        raise UserError(f"the adapter in {folder} cannot be used: {wrong}")
    own = adapter_files.read_info(folder)
    facts = own or (_of_run(run, folder) if run else _of_config(folder))
    facts = msgspec.structs.replace(facts, task=adapter_files.task(folder))
    info = run.info() if run else None
    trusted = info is not None and info.job.trust_remote_code
    return AdapterSource(folder, facts, _labels(folder, run), trusted)


def _labels(folder: Path, run: RunFolder | None) -> list[str]:
    """The names of a classifier's classes; checkpoints have none, their run has them."""
    if adapter_files.task(folder) != "classification":
        return []
    found = adapter_files.labels(folder)
    if not found and run is not None:
        evaluation = run.evaluation()
        found = adapter_files.labels(run.adapter_dir) or (evaluation.labels if evaluation else [])
    return found


def _locate(source: Path) -> tuple[Path, RunFolder | None]:
    """The adapter's folder, and the run that trained it, if any."""
    own = RunFolder(source)
    if own.info() is not None:
        if not own.adapter_dir.is_dir():
            raise UserError(f"run {source.name} is {own.status()} and has no adapter yet")
        return own.adapter_dir, own
    if source.name == "best" and source.is_file():  # a file system without symbolic links
        name = checkpoints.best_name(RunFolder(source.absolute().parent.parent))
        source = source.with_name(name or source.name)
    if not source.is_dir():
        raise UserError(
            f"{source} is not a folder; give a run, a checkpoint or an adapter's folder"
        )
    run = checkpoints.run_of(source)
    return source.resolve() if run is not None else source, run


def _on_base(facts: AdapterInfo, base: str) -> AdapterInfo:
    """The facts with the base `base`: a folder, a Hugging Face id or "builtin". Raises `UserError`
    for another base than the adapter was made for, where that is known."""
    model = jobs.resolve_model(base, Path.cwd(), "--base")
    folder = paths.builtin_model() if model == "builtin" else Path(model)
    known = model_files.hash_model(folder) if folder.is_dir() else None
    if None not in (known, facts.base_hash) and known != facts.base_hash:
        raise UserError(
            f"--base: the adapter was made for another base ({facts.base_model}), not for {base} "
            "as it is: their SHA-256 differ"
        )
    return msgspec.structs.replace(facts, base_model=model, base_hash=known or facts.base_hash)


def _of_run(run: RunFolder, folder: Path) -> AdapterInfo:
    """Facts of the adapter or checkpoint `folder` of a run. Raises `UserError`."""
    info = run.info()
    if info is None:
        raise UserError(f"{run.info_file} cannot be read")
    facts = AdapterInfo(
        name=info.name,
        created_at=0.0,
        base_model=info.base_model,
        base_hash=info.base_hash,
        data_hash=info.data_hash,
        run_id=info.id,
        lora=info.job.lora,
        null_space=0.0 if info.job.data.null_space is None else info.job.data.null_space_share,
    )
    if (step := checkpoints.step_of(folder)) is not None:
        return _of_checkpoint(run, info, folder, step, facts)
    state = run.state()
    step = None if state is None else state.saved_step
    if step is None and state is not None and state.state in ENDED_STATES:
        step = state.step  # earlier versions saved the last step
    if step is None:
        return facts
    return _with_scores(facts, step, checkpoint_scores.at_step(run, step), run)


def _of_checkpoint(
    run: RunFolder, info: RunInfo, folder: Path, step: int, facts: AdapterInfo
) -> AdapterInfo:
    wrong = checkpoints.problem(folder)
    if wrong:
        raise UserError(f"checkpoint {folder.name} cannot be used: {wrong}")
    if info.job.lora.init == "pissa":
        raise UserError(
            f'checkpoint {folder.name} fits only the base as changed by lora.init = "pissa"; add '
            f"the adapter that the run saves at its end: tui-trainer adapters add {run.path}"
        )
    facts = msgspec.structs.replace(facts, name=f"{facts.name}-{folder.name}")
    return _with_scores(facts, step, checkpoint_scores.read(run, folder), run)


def _with_scores(
    facts: AdapterInfo, step: int, scores: dict[str, float], run: RunFolder
) -> AdapterInfo:
    return msgspec.structs.replace(
        facts,
        steps=step,
        scores=scores,
        val_loss=scores.get("val_loss"),
        train_loss=checkpoint_scores.train_loss(run, step),
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
