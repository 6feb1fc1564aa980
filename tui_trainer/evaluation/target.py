"""What is evaluated: a run, an adapter or a model, found by its name."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Quantization, Task
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.store import evaluation_files, jobs
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs import checkpoints, run_folder
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
    evaluations: Path | None = None  # folder to which results are written
    max_length: int | None = None  # tokens of a row in the loss; None: as the base reads
    quantization: Quantization = "none"  # of the base
    trust_remote_code: bool = False

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
    """Return the run, adapter or model with this name or folder; the first of them that there is.

    Raises `UserError` where nothing has the name.
    """
    place = Path(reference).expanduser()
    if reference == "builtin":
        return Target(reference, reference)
    if (place / "run.json").is_file():
        return _of_run(RunFolder(place.resolve()))
    if (place / _CONFIG).is_file():
        return _of_folder(place.resolve(), place.resolve().name, trust_remote_code)
    if (place / "config.json").is_file():
        return _of_model(str(place.resolve()), place.resolve().name, trust_remote_code)
    if (runs_dir / reference / "run.json").is_file():
        return _of_run(RunFolder(runs_dir / reference))
    store = AdapterStore()
    if any(entry.info.name == reference for entry in store.list()):
        adapter = store.usable_folder(reference)
        found = _of_folder(adapter, reference, trust_remote_code)
        return replace(found, evaluations=adapter / evaluation_files.FOLDER)
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
    return _trained(run.adapter_dir, info.name, info, run)


def _of_folder(folder: Path, name: str, trust_remote_code: bool) -> Target:
    """The target of an adapter's folder: in the store, a run's, or any in PEFT's format."""
    run = checkpoints.run_of(folder)
    trained = run.info() if run is not None else None
    if trained is not None:
        name = trained.name if name == "adapter" else f"{trained.name} {name}"
        return _trained(folder, name, trained, run)
    info = adapter_files.read_info(folder)
    config = _json(folder / _CONFIG)
    model = info.base_model if info is not None else config.get("base_model_name_or_path")
    if not isinstance(model, str) or not model:
        raise UserError(f"{folder / _CONFIG} does not name the base of the adapter")
    task: Task = "classification" if config.get("task_type") == "SEQ_CLS" else "causal-lm"
    labels = _labels(folder, None) if task == "classification" else []
    model = jobs.resolve_model(model, Path.cwd(), f"the base of {name}")
    return Target(name, model, folder, task, labels, trust_remote_code=trust_remote_code)


def _trained(folder: Path, name: str, info: RunInfo, run: RunFolder | None) -> Target:
    job = info.job
    return Target(
        name,
        job.model,
        folder,
        job.task,
        _labels(folder, run) if job.task == "classification" else [],
        None if run is None else run.evaluations_dir,
        job.data.max_length,
        job.quantization,
        job.trust_remote_code,
    )


def _of_model(model: str, name: str, trust_remote_code: bool) -> Target:
    config = _json(Path(model) / "config.json")
    kinds = config.get("architectures") or [""]
    if not str(kinds[0]).endswith("ForSequenceClassification"):
        return Target(name, model, trust_remote_code=trust_remote_code)
    labels = _by_index(config.get("id2label"), Path(model) / "config.json")
    return Target(name, model, None, "classification", labels, trust_remote_code=trust_remote_code)


def _labels(folder: Path, run: RunFolder | None) -> list[str]:
    """Return the classes of a classifier's adapter. Raises `UserError` where no file has them."""
    file = folder / "labels.json"
    if file.is_file():
        return _by_index(_json(file).get("id2label"), file)
    scores = run.evaluation() if run is not None else None
    if scores is not None:
        return scores.labels
    raise UserError(
        f"{folder} is a classifier without labels.json, so the names of its classes are not known; "
        'write it as {"id2label": {"0": "...", "1": "..."}}'
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
