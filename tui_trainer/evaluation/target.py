"""What is evaluated, or predicts: a run, an adapter or a model, found by its name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Quantization, Task
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.store import jobs
from tui_trainer.store.adapters.adapter_import import AdapterSource, read_source
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.data_sources import file_list
from tui_trainer.store.runs import checkpoints, evaluation_files, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

_CONFIG = "adapter_config.json"


@dataclass(frozen=True)
class Target:
    """A model that can be evaluated."""

    name: str  # as the user knows it
    model: str  # the base: "builtin", a folder or a Hugging Face id
    adapter: Path | None = None  # None: the base alone
    task: Task = "causal-lm"
    labels: list[str] = field(default_factory=list)  # classes of a classifier, by index
    run: RunFolder | None = None  # to which results are written
    max_length: int | None = None  # tokens of a row in the loss; None: as the base reads
    quantization: Quantization = "none"  # of the base
    trust_remote_code: bool = False
    trained_on: list[str] = field(default_factory=list)  # training files of its run
    columns: dict[str, str] = field(default_factory=dict)  # `data.columns` of its run

    def evaluations_dir(self) -> Path | None:
        """Where results are written: into the run, else beside the adapter; None for a model."""
        if self.run is not None:
            return self.run.evaluations_dir
        return None if self.adapter is None else self.adapter / evaluation_files.FOLDER

    def base(self) -> Target:
        """The base alone, with the same settings. Raises `UserError` for a classifier, whose base
        has no classes."""
        if self.task == "classification":
            raise UserError(
                f"the base of {self.name} has no trained classes to compare with; name another "
                "run or adapter with --against"
            )
        return Target(
            f"base {self.model}" if self.model == "builtin" else Path(self.model).name,
            self.model,
            max_length=self.max_length,
            quantization=self.quantization,
            trust_remote_code=self.trust_remote_code,
        )


def find(reference: str, runs_dir: Path, *, trust_remote_code: bool = False) -> Target:
    """Return the adapter of the store, run, adapter's folder or model with this name or folder; the
    first of them that there is.

    Raises `UserError` where nothing has the name, and for an adapter that cannot be used.
    """
    place = Path(reference).expanduser()
    if reference == "builtin":
        return Target(reference, reference)
    store = AdapterStore()
    if any(entry.info.name == reference for entry in store.list()):
        return _of_adapter(store.usable_folder(reference), reference, trust_remote_code)
    if (place / "run.json").is_file():
        return _of_run(RunFolder(place.resolve()))
    if (place / _CONFIG).is_file():
        return _of_adapter(place.resolve(), place.resolve().name, trust_remote_code)
    if place.name == "best" and place.is_file():  # a file system without symbolic links
        return _of_adapter(place, place.name, trust_remote_code)
    if (place / "config.json").is_file():
        return _of_model(str(place.resolve()), place.resolve().name, trust_remote_code)
    if (runs_dir / reference / "run.json").is_file():
        return _of_run(RunFolder(runs_dir / reference))
    for folder in run_folder.list_runs(runs_dir):
        basics = folder.basics()
        if basics is not None and basics.name == reference:
            return _of_run(folder)
    if reference.count("/") == 1 and not reference.startswith((".", "/", "~")):
        model = jobs.resolve_model(reference, Path.cwd(), "model")
        return Target(reference, model, trust_remote_code=trust_remote_code)
    raise UserError(
        f"there is no run, adapter or model {reference!r}: it is no run in {runs_dir}, no adapter "
        "of adapters list and no folder of a model"
    )


def _of_run(run: RunFolder) -> Target:
    run = RunFolder(run.path.resolve())
    info = run.info()
    if info is None:
        raise UserError(f"{run.path.name} was trained by another program, so it has no adapter")
    if not (run.adapter_dir / _CONFIG).is_file():
        raise UserError(
            f"run {run.path.name} has no adapter yet; train it to its end, or stop it with: "
            f"tui-trainer control {run.path} stop",
            1,
        )
    return _trained(read_source(run.path), info.name, info, run)


def _of_adapter(place: Path, name: str, trust_remote_code: bool) -> Target:
    """The target of an adapter's folder: in the store, a run's, or any in PEFT's format."""
    source = read_source(place)
    run = checkpoints.run_of(source.folder)
    trained = run.info() if run is not None else None
    if trained is not None:
        own = source.folder.name
        name = trained.name if own == "adapter" else f"{trained.name} {own}"
        return _trained(source, name, trained, run)
    model = jobs.resolve_model(source.info.base_model, Path.cwd(), f"the base of {name}")
    return Target(
        name,
        model,
        source.folder,
        source.info.task,
        _labels(source),
        trust_remote_code=trust_remote_code,
    )


def _trained(source: AdapterSource, name: str, info: RunInfo, run: RunFolder | None) -> Target:
    job = info.job
    return Target(
        name,
        job.model,
        source.folder,
        job.task,
        _labels(source) if job.task == "classification" else [],
        run,
        job.data.max_length,
        job.quantization,
        job.trust_remote_code,
        [str(file) for file in file_list(job.data.train)],
        job.data.columns,
    )


def _of_model(model: str, name: str, trust_remote_code: bool) -> Target:
    config = _json(Path(model) / "config.json")
    kinds = config.get("architectures") or [""]
    if not str(kinds[0]).endswith("ForSequenceClassification"):
        return Target(name, model, trust_remote_code=trust_remote_code)
    labels = _by_index(config.get("id2label"), Path(model) / "config.json")
    return Target(name, model, None, "classification", labels, trust_remote_code=trust_remote_code)


def _labels(source: AdapterSource) -> list[str]:
    """Return the classes of a classifier's adapter. Raises `UserError` where no file has them."""
    if source.info.task != "classification" or source.labels:
        return source.labels
    raise UserError(
        f"{source.folder} is a classifier without labels.json, so the names of its classes are not "
        'known; write it as {"id2label": {"0": "...", "1": "..."}}'
    )


def _by_index(names: Any, file: Path) -> list[str]:
    """Return the labels of an `id2label`. Raises `UserError` where it is not one."""
    try:
        return [str(names[str(index)]) for index in range(len(names))]
    except (TypeError, KeyError):
        raise UserError(f"{file} has no names for its classes by index (id2label)") from None


def _json(file: Path) -> dict[str, Any]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    except BAD_CONTENT as error:
        raise UserError(f"{file} is not valid JSON: {error}") from None
    if not isinstance(values, dict):
        raise UserError(f"{file} is not a JSON object")
    return values
