"""Runs as documents that the `runs` commands print: the same facts as on the screens."""

from __future__ import annotations

import contextlib
import math
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from tui_trainer.contracts.evaluation import EvaluationReport
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.store import jsonl
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs import resolve
from tui_trainer.watch.runs.details import epochs, flat_config, run_details, run_diff
from tui_trainer.watch.snapshots import RunSummary, RunView


@dataclass(frozen=True)
class LastMetrics:
    """The newest training row and the newest evaluation at the end of the file."""

    train: TrainRecord | None = None
    evaluation: EvalRecord | None = None


def last_metrics(folder: RunFolder) -> LastMetrics:
    """Read the end of `metrics.jsonl`; unreadable lines are skipped."""
    train: TrainRecord | None = None
    evaluation: EvalRecord | None = None
    with contextlib.suppress(OSError):
        for record in jsonl.newest_records(folder.metrics_file, TrainRecord | EvalRecord):
            if isinstance(record, TrainRecord):
                train = train or record
            else:
                evaluation = evaluation or record
            if train and evaluation:
                break
    return LastMetrics(train, evaluation)


def summary(run: RunSummary) -> dict[str, Any]:
    """A run as in the list of runs."""
    ours = run.kind == "run"
    state = RunFolder(run.path).state() if ours else None
    last = last_metrics(RunFolder(run.path)) if ours else LastMetrics()
    return {
        "id": run.id,
        "name": run.name,
        "path": str(run.path),
        "kind": run.kind,
        "tool": run.tool,
        "status": run.status,
        "steerable": run.commandable,
        "step": run.step,
        "total_steps": run.total_steps,
        "epoch": run.epoch,
        "loss": run.loss,
        "best_loss": run.best_loss,
        "trend": run.trend,
        "val_loss": last.evaluation.val_loss if last.evaluation else None,
        "best_val_loss": run.best_val_loss,
        "best_step": state.best_step if state else None,
        "best": state.best if state else None,
        "saved_step": state.saved_step if state else None,
        "learning_rate": run.learning_rate,
        "tokens_per_second": run.tokens_per_second,
        "eta_seconds": run.eta_seconds,
        "created_at": run.created_at,
        "updated_at": run.updated_at,
        "message": run.message,
        "problem": run.problem,
        "spark": run.spark,
    }


def listed(run: RunSummary) -> dict[str, Any]:
    """A run as `runs list` prints it: with the scores of its evaluations on files."""
    found = run_details.read_scores(resolve.location_of(run))
    return {**summary(run), "evaluations": list(found.scores)}


def everything(location: RunLocation) -> dict[str, Any]:
    """A run as `runs show` prints it."""
    found = run_details.read_details(location, thorough=True)
    view = found.view
    folder = RunFolder(location.path)
    last = last_metrics(folder) if location.kind == "run" else LastMetrics()
    adapter = folder.adapter_dir / "adapter_model.safetensors"
    failed = view.summary.status in ("failed", "crashed")
    return {
        **summary(view.summary),
        **_results(view),
        "info": folder.info() or folder.loop_info() if location.kind == "run" else None,
        "state": view.state,
        "last_train": last.train,
        "last_eval": last.evaluation,
        "data": found.data,
        "evaluation": found.evaluation,
        "evaluations": [_without_rows(report) for report in found.reports],
        "unreadable_evaluations": list(found.unreadable_reports),
        "gradients": found.gradients,
        "epochs": [asdict(result) for result in epochs.epoch_results(view)],
        "samples": list(found.samples[-1].answers.values()) if found.samples else [],
        "config": dict(view.config or flat_config.config_of(location.path)),
        "lacks": view.lacks,
        "oddities": view.warnings,
        "events": view.events,
        "checkpoints": [asdict(item) for item in found.checkpoints],
        "hardware": [asdict(item) for item in run_details.measured(view.hardware)],
        "adapter": str(folder.adapter_dir) if adapter.is_file() else None,
        "log": list(found.log[-10:]) if failed else [],
    }


def _without_rows(report: EvaluationReport) -> EvaluationReport:
    """A report without its rows, which can be many: its file has them."""
    return msgspec.structs.replace(report, items=[])


def _results(view: RunView) -> dict[str, Any]:
    """Results that are computed from the rows."""
    best, val = view.train.best("loss"), view.evals.best("val_loss")
    results: dict[str, Any] = {
        "metrics": list(dict.fromkeys((*view.train.measured(), *view.evals.measured()))),
        "rows": {"train": view.train.rows, "eval": view.evals.rows},
        "elapsed_seconds": run_diff.elapsed(view),
        "best_loss_step": _step(best),
    }
    if best is not None:
        results["best_loss"] = best[0]
    if val is not None:
        results["val_loss"] = view.evals.last("val_loss")
        if view.state is None or view.state.best_step is None:
            results |= {"best_val_loss": val[0], "best_step": _step(val)}
    return results


def _step(best: tuple[float, float] | None) -> int | None:
    """The step of a best value; None where its row has no step."""
    return int(best[1]) if best is not None and math.isfinite(best[1]) else None
