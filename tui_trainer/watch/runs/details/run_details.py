"""All details of one run, read once: for the details screen and for `runs show`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tui_trainer.contracts.evaluation import EvaluationReport
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.runs.data_report import DataReport
from tui_trainer.contracts.runs.metrics import EvaluationFile, GradientCheck
from tui_trainer.evaluation import report
from tui_trainer.store.runs import checkpoints, evaluation_files
from tui_trainer.store.runs.evaluation_files import FoundScores
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.details.sample_answers import SampledStep, valid_samples
from tui_trainer.watch.runs.run_metrics import open_metrics
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.watch.snapshots import MetricTable, RunView

LOG_LINES = 200
_NO_LIMIT = 1 << 40
_CHECKPOINT = re.compile(r"(?:step|checkpoint)-(\d+)")


@dataclass(frozen=True)
class CheckpointFacts:
    """A checkpoint of a run."""

    name: str
    step: int
    path: str
    bytes: int
    best: bool
    problem: str | None  # why it is not complete
    sealed: bool = True  # it has a manifest, which is written last; other tools write none
    saved_at: float | None = None  # seconds since the epoch
    epoch: float | None = None  # passes over the training data
    loss: float | None = None  # training loss of its step, nats
    accuracy: float | None = None  # training accuracy of its step, 0..1
    val_loss: float | None = None  # of an evaluation at its step, nats
    val_accuracy: float | None = None  # of an evaluation at its step, 0..1


@dataclass(frozen=True)
class MetricRange:
    """Newest and highest value of a hardware metric."""

    name: str
    unit: str
    last: float
    peak: float


@dataclass(frozen=True)
class RunDetails:
    """All details of a run."""

    view: RunView
    checkpoints: tuple[CheckpointFacts, ...] = ()
    log: tuple[str, ...] = ()  # the last lines of its output
    data: DataReport | None = None
    evaluation: EvaluationFile | None = None  # of a classifier
    reports: tuple[EvaluationReport, ...] = ()  # of evaluations on files, the newest first
    unreadable_reports: tuple[str, ...] = ()  # names of files that should be reports
    gradients: GradientCheck | None = None  # as last measured
    samples: tuple[SampledStep, ...] = ()  # answers to the sample prompts, by evaluation


def read_details(
    location: RunLocation, view: RunView | None = None, *, thorough: bool = False
) -> RunDetails:
    """Reads the details of a run.

    Args:
        location: the run.
        view: a view of it, if known; reading a million rows takes about a second.
        thorough: compare every byte of the checkpoints with the manifest, not only their sizes.
    """
    folder, ours = RunFolder(location.path), location.kind == "run"
    view = view if view is not None else read_whole(location)
    reports, unreadable = report.read_all(folder.evaluations_dir) if ours else ([], [])
    return RunDetails(
        view=view,
        checkpoints=tuple(checkpoint_facts(folder, view, thorough)),
        log=tuple(folder.log_tail(LOG_LINES)) if ours else (),
        data=folder.data() if ours else None,
        evaluation=folder.evaluation() if ours else None,
        reports=tuple(reports),
        unreadable_reports=tuple(unreadable),
        gradients=folder.gradients() if ours else None,
        samples=valid_samples(folder.samples(), view.events) if ours else (),
    )


def read_scores(location: RunLocation) -> FoundScores:
    """Reads the scores of a run's evaluations on files."""
    if location.kind != "run":
        return FoundScores()
    return evaluation_files.read_folder(RunFolder(location.path).evaluations_dir)


def read_whole(location: RunLocation) -> RunView:
    """Reads a run completely."""
    reader = RunReader(location)
    while reader.read()[1]:
        pass
    return reader.view()


def read_rows(location: RunLocation) -> tuple[MetricTable, MetricTable]:
    """Reads every training row and evaluation, without thinning. Raises `OSError`."""
    source = open_metrics(location)
    waits = True
    while waits:
        for table in (source.history.train, source.history.evals):
            table.most = _NO_LIMIT
        waits = source.read()[1]
    source.settle()
    return source.history.train.table(), source.history.evals.table()


def checkpoint_facts(
    folder: RunFolder, view: RunView, thorough: bool = True
) -> list[CheckpointFacts]:
    """Every checkpoint, oldest first, including those without a manifest; the scores are those
    that `view` has of its step."""
    best = checkpoints.best_name(folder)
    found = []
    for path in _checkpoint_folders(folder):
        step = int(_CHECKPOINT.fullmatch(path.name)[1])  # type: ignore[index]
        ours = path.parent == folder.checkpoints_dir
        manifest = checkpoints.read_manifest(path)
        problem = None
        if ours:
            problem = checkpoints.problem(path) if thorough else _sizes_problem(path, manifest)
        found.append(
            CheckpointFacts(
                name=path.name,
                step=step,
                path=str(path),
                bytes=_size(path) if manifest is None else _manifest_size(manifest),
                best=path.name == best,
                problem=problem,
                sealed=manifest is not None,
                saved_at=_modified_at(path),
                epoch=_at_step(view.train, "epoch", step),
                loss=_at_step(view.train, "loss", step),
                accuracy=_at_step(view.train, "accuracy", step),
                val_loss=_at_step(view.evals, "val_loss", step),
                val_accuracy=_at_step(view.evals, "val_accuracy", step),
            )
        )
    return sorted(found, key=lambda item: item.step)


def _at_step(table: MetricTable, name: str, step: int) -> float | None:
    """A finite value of the row of a step; None without one, as in thinned parts of a table."""
    values, steps = table.column(name), table.column("step")
    at = int(np.searchsorted(steps, step))
    if at >= len(values) or steps[at] != step or not np.isfinite(values[at]):
        return None
    return float(values[at])


def _modified_at(path: Path) -> float | None:
    with contextlib.suppress(OSError):
        return path.stat().st_mtime
    return None


def measured(samples: Sequence[HardwareSample]) -> list[MetricRange]:
    """Newest and highest values of the hardware samples, each GPU last."""
    columns: dict[tuple[str, str], list[float]] = {}

    def add(name: str, unit: str, value: float | None) -> None:
        if value is not None:
            columns.setdefault((name, unit), []).append(float(value))

    for sample in samples:
        add("CPU", "%", sample.cpu_percent)
        add("memory", "bytes", sample.ram_used)
        add("memory of the run", "bytes", sample.run_rss)
        add("CPU of the run", "%", sample.run_cpu_percent)
        for gpu in sample.gpus:
            title = f"GPU {gpu.index}"
            add(title, "%", gpu.utilisation)
            add(f"{title} memory", "bytes", gpu.memory_used)
            add(f"{title} memory of the run", "bytes", gpu.memory_run)
            add(f"{title} temperature", "°C", gpu.temperature)
            add(f"{title} power", "W", gpu.power)
    return [
        MetricRange(name, unit, values[-1], max(values)) for (name, unit), values in columns.items()
    ]


def _checkpoint_folders(folder: RunFolder) -> list[Path]:
    """The checkpoints in `checkpoints`, and those of Hugging Face's Trainer beside its state."""
    found = []
    top = folder.path if folder.path.is_dir() else folder.path.parent
    for folder_of, beginning in ((folder.checkpoints_dir, "step-"), (top, "checkpoint-")):
        with contextlib.suppress(OSError):
            found += [
                path
                for path in folder_of.iterdir()
                if path.name.startswith(beginning)
                and _CHECKPOINT.fullmatch(path.name)
                and path.is_dir()
            ]
    return found


def _sizes_problem(path: Path, manifest: checkpoints.Manifest | None) -> str | None:
    """The problem of a checkpoint by the sizes of its files, or None."""
    if manifest is None:
        return "it has no readable manifest"
    for name, entry in manifest.files.items():
        try:
            size = (path / name).stat().st_size
        except OSError:
            return f"{name} is missing"
        if size != entry.bytes:
            return f"{name} is not what was saved"
    return None


def _manifest_size(manifest: checkpoints.Manifest) -> int:
    return sum(entry.bytes for entry in manifest.files.values())


def _size(path: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    return 0
