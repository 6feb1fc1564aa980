"""Results of lm-eval's tasks: their journal, report and comparison."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.contracts.evaluation import (
    EvaluatedItem,
    EvaluationReport,
    Paired,
    ScoreComparison,
    TaskItem,
    TaskResult,
    TasksRequest,
)
from tui_trainer.evaluation import journal
from tui_trainer.evaluation.paired import compare_means, compare_right
from tui_trainer.store import jsonl

MISSING = 'tasks need lm-eval; install with: pip install "tui-trainer[lm-eval]"'
_RIGHT = ("acc", "exact_match")  # metrics that say whether an item is right, in order
_LONGEST_NAME = 60  # characters of a report's name


def check_installed() -> None:
    """Raise `UserError` where lm-eval is missing; it is not imported."""
    if importlib.util.find_spec("lm_eval") is None:
        raise UserError(MISSING, 1)


def names(text: str) -> list[str]:
    """Return the names in a list with commas. Raises `UserError` where there is none."""
    found = [name.strip() for name in text.split(",") if name.strip()]
    if not found:
        raise UserError("--tasks names no task; give names with commas, such as arc_easy,hellaswag")
    return list(dict.fromkeys(found))


def report_name(asked: Sequence[str]) -> str:
    """Return the default name of the report of these tasks."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", "-".join(asked))[:_LONGEST_NAME].strip("-") or "tasks"


def file_of(request: TasksRequest) -> Path:
    """Return the journal's file: the same for the same model, adapter, task files and settings."""
    return journal.path_of(
        msgspec.structs.replace(request, journal="", tasks=[]),
        [request.model, request.adapter],
        _stamp(request.task_files).encode(),
    )


def _stamp(folder: str | None) -> str:
    """Return what changes when a file of the folder is changed."""
    if folder is None:
        return ""
    whole = hashlib.sha256()
    try:
        for file in sorted(found for found in Path(folder).rglob("*") if found.is_file()):
            status = file.stat()
            whole.update(f"{file}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {reason_of(error)}") from None
    return whole.hexdigest()


def read(file: Path) -> list[TaskResult]:
    """Return the finished tasks of a journal; none where it is absent."""
    try:
        return jsonl.read_records(file, TaskResult).records
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason_of(error)}", 1) from None


def make(name: str, target: str, request: TasksRequest) -> EvaluationReport:
    """Return the report of a finished request from its journal."""
    results = results_of(request)
    return EvaluationReport(
        name=name,
        time=time.time(),
        target=target,
        model=request.model,
        adapter=request.adapter,
        task="causal-lm",
        files=[],
        data_hash="",
        rows=sum(found.rows for found in results if found.items or len(results) == 1),
        metrics={
            f"{found.task} {metric}": measured.value
            for found in results
            for metric, measured in found.metrics.items()
        },
        settings={
            "limit": request.limit,
            "max_length": request.max_length,
            "precision": request.precision,
            "quantization": request.quantization,
            "task_files": request.task_files,
            "lm_eval": _version(),
        },
        items=[_evaluated(item) for found in results for item in found.items],
        tasks=[msgspec.structs.replace(found, items=[]) for found in results],
    )


def results_of(request: TasksRequest) -> list[TaskResult]:
    """Return the results of a finished request, with their items."""
    latest = {(found.asked, found.task): found for found in read(Path(request.journal))}
    return [found for asked in request.tasks for (of, _), found in latest.items() if of == asked]


def _version() -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version("lm-eval")
    return None


def _evaluated(item: TaskItem) -> EvaluatedItem:
    values = [item.scores[name] for name in _RIGHT if name in item.scores]
    return EvaluatedItem(
        where=item.where,
        question=item.question,
        reference=item.reference,
        answer=item.answer,
        right=values[0] >= 1.0 if values else None,
        scores=item.scores,
    )


@dataclass(frozen=True)
class Compared:
    """Two models on the same tasks.

    tests: of each metric that could be paired, by "task metric".
    unpaired: why not, by the same name.
    """

    tests: dict[str, Paired]
    unpaired: dict[str, str]


def compare(before: Sequence[TaskResult], after: Sequence[TaskResult]) -> Compared:
    """Compare two models on the items that both were asked: metrics of 0 and 1 by the exact McNemar
    test, others by a paired bootstrap."""
    tests: dict[str, Paired] = {}
    unpaired: dict[str, str] = {}
    first = {found.task: found for found in before}
    for found in after:
        other = first.get(found.task)
        others = {(item.where, item.hash): item for item in other.items} if other else {}
        for metric, measured in found.metrics.items():
            name = f"{found.task} {metric}"
            pairs = [
                (others[item.where, item.hash].scores[metric], item.scores[metric])
                for item in found.items
                if metric in item.scores
                and metric in getattr(others.get((item.where, item.hash)), "scores", {})
            ]
            if not pairs:
                unpaired[name] = "not paired: lm-eval logged no value for each item"
                continue
            one, two = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
            if {*one, *two} <= {0.0, 1.0} and measured.higher_is_better:
                tests[name] = compare_right(name, [v == 1.0 for v in one], [v == 1.0 for v in two])
            else:
                tests[name] = compare_means(name, one, two, higher=measured.higher_is_better)
    return Compared(tests, unpaired)


def beside(target: str, report: EvaluationReport, compared: Compared) -> ScoreComparison:
    """Return the other model, whose `report` this is, as it stands in a report."""
    return ScoreComparison(
        target=target, metrics=report.metrics, tests=list(compared.tests.values())
    )
