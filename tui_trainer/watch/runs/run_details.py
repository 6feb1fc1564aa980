"""All details of one run, read once: for the details screen and for `runs show`."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.contracts.data import DataReport
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.metrics import EvaluationFile
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
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
    return RunDetails(
        view=view if view is not None else read_whole(location),
        checkpoints=tuple(checkpoint_facts(folder, thorough)),
        log=tuple(folder.log_tail(LOG_LINES)) if ours else (),
        data=folder.data() if ours else None,
        evaluation=folder.evaluation() if ours else None,
    )


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


def checkpoint_facts(folder: RunFolder, thorough: bool = True) -> list[CheckpointFacts]:
    """Every checkpoint, oldest first, including those without a manifest."""
    best = checkpoints.best_name(folder)
    found = []
    for path in _checkpoint_folders(folder):
        step = int(_CHECKPOINT.fullmatch(path.name)[1])  # type: ignore[index]
        ours = path.parent == folder.checkpoints_dir
        manifest = checkpoints.read_manifest(path)
        problem = None
        if ours:
            problem = checkpoints.problem(path) if thorough else _sizes_problem(path, manifest)
        total = _size(path) if manifest is None else _manifest_size(manifest)
        sealed = manifest is not None
        is_best = path.name == best
        found.append(CheckpointFacts(path.name, step, str(path), total, is_best, problem, sealed))
    return sorted(found, key=lambda item: item.step)


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
