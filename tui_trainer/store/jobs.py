"""Job files: reading, overriding settings, resolving paths."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tui_trainer.contracts.advice import AdvisorSettings
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job, LoraSettings
from tui_trainer.store.data_sources import file_list, resolve_files, resolve_sources
from tui_trainer.store.settings import load_settings
from tui_trainer.store.toml import reading
from tui_trainer.store.toml.reading import ValueSource


def load_job(path: Path, overrides: Iterable[str] = ()) -> Job:
    """Read the job in a TOML file and apply `section.key=value` overrides.

    Data paths and a model's folder are made absolute; relative ones start at the job file's
    folder. A job without a name gets the file's. Raises `UserError` for everything that cannot
    work and can be detected without loading a model.
    """
    values, source = reading.read_source(path)
    for assignment in overrides:
        reading.apply_override(values, assignment, source)
    values.setdefault("name", path.stem)
    return check_job(values, path.parent, source)


def check_job(values: dict[str, Any], folder: Path, where: str | ValueSource) -> Job:
    """A checked, resolved job from plain values; `where` names their source in errors."""
    source = ValueSource(where) if isinstance(where, str) else where
    if "data" not in values:
        raise UserError(f'{source.name}: the section [data] with train = "FILE" is missing')
    job = reading.convert(values, Job, source)
    if job.data.validation is not None and job.data.val_split is not None:
        place = source.at("data", "val_split")
        raise UserError(f"{place}: data.validation and data.val_split exclude each other")
    data = msgspec.structs.replace(
        job.data,
        train=resolve_sources(job.data.train, folder, source.about("data.train")),
        validation=None
        if job.data.validation is None
        else resolve_files(job.data.validation, folder, source.about("data.validation")),
        test=None
        if job.data.test is None
        else resolve_files(job.data.test, folder, source.about("data.test")),
        replay=None
        if job.data.replay is None
        else resolve_files(job.data.replay, folder, source.about("data.replay")),
        retain=None
        if job.data.retain is None
        else resolve_files(job.data.retain, folder, source.about("data.retain")),
        null_space=None
        if job.data.null_space is None
        else resolve_files(job.data.null_space, folder, source.about("data.null_space")),
        augment_model=None
        if job.data.augment_model is None
        else resolve_model(job.data.augment_model, folder, source.about("data.augment_model")),
    )
    advisor = _resolve_advisor(values.get("advisor"), source)
    training = job.training
    if training.max_steps is None and training.epochs is None:
        training = msgspec.structs.replace(training, epochs=3.0)
    return msgspec.structs.replace(
        job,
        data=data,
        lora=_resolve_start(job.lora, folder, source),
        training=training,
        advisor=advisor,
        model=resolve_model(job.model, folder, source.at("model")),
    )


def data_files(job: Job) -> list[Path]:
    """All data files of a resolved job, training files first; see `data_sources.file_list`."""
    data = job.data
    parts = (
        data.train, data.validation, data.test, data.replay, data.retain, data.null_space
    )  # fmt: skip
    return [f for part in parts for f in file_list(part)]


def _resolve_advisor(wanted: dict[str, Any] | None, source: ValueSource) -> AdvisorSettings | None:
    """The configuration's advisor settings, overridden by the job's; None if all are defaults.

    They become part of the job, so that a resumed or replayed run gets the same advice.
    """
    general = load_settings().advisor
    if wanted:
        merged = {**msgspec.to_builtins(general), **wanted}
        general = reading.convert(merged, AdvisorSettings, source.about("advisor"))
    return None if general == AdvisorSettings() else general


def _resolve_start(lora: LoraSettings, folder: Path, source: ValueSource) -> LoraSettings:
    if lora.start_from is None:
        return lora
    start = (folder / Path(lora.start_from).expanduser()).resolve()
    if not (start / "adapter_config.json").is_file():
        raise UserError(f"{source.about('lora.start_from')}: {start} is not an adapter's folder")
    return msgspec.structs.replace(lora, start_from=str(start))


def resolve_model(model: str, folder: Path, where: str) -> str:
    """A model as in a resolved job: "builtin", a folder's absolute path, or a Hugging Face id.

    A relative path starts at `folder`. Raises `UserError` whose message starts with `where`.
    """
    if model == "builtin":
        return model
    local = (folder / Path(model).expanduser()).resolve()
    if local.is_dir():
        if not (local / "config.json").is_file():
            raise UserError(f"{where}: model folder {local} has no config.json")
        return str(local)
    if model.count("/") > 1 or model.startswith((".", "/", "~")) or model.endswith("/"):
        raise UserError(
            f"{where}: model folder {local} does not exist; "
            'name a folder, a Hugging Face id such as "owner/name", or "builtin"'
        )
    return model
