"""The metric of the evaluations by which the best one is chosen, and early stopping ends a run."""

from __future__ import annotations

from dataclasses import dataclass

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job, Task

# The metrics of each task, the default one first, and whether higher values are better.
_METRICS: dict[Task, dict[str, bool]] = {
    "causal-lm": {"val_loss": False, "val_perplexity": False, "val_accuracy": True},
    "classification": {
        "val_f1_macro": True,
        "val_loss": False,
        "val_accuracy": True,
        "val_precision_macro": True,
        "val_recall_macro": True,
    },
}
_DIRECTIONS = {"max": True, "min": False}


@dataclass(frozen=True)
class BestMetric:
    """A metric, and whether higher values are better."""

    name: str  # such as "val_loss"
    higher: bool

    def gain(self, value: float, before: float) -> float:
        """By how much `value` is better than `before`; negative if it is worse."""
        return value - before if self.higher else before - value


def metric_of(job: Job) -> BestMetric:
    """The metric that `training.best_metric` names, or the task's own.

    Raises `UserError` for a name that is not a metric of the task, and for an unknown direction.
    """
    known = _METRICS[job.task]
    given = job.training.best_metric
    if given is None:
        given = next(iter(known))
    direction, colon, name = given.rpartition(":")
    setting = f'training.best_metric = "{given}"'
    if colon and direction not in _DIRECTIONS:
        raise UserError(f'{setting} is neither "max:NAME" nor "min:NAME"')
    if name not in known:
        others = [task for task, metrics in _METRICS.items() if name in metrics]
        why = f"is only for {others[0]}" if others else "is not a metric of the evaluations"
        raise UserError(f"{setting} {why}; with task {job.task} use one of: {', '.join(known)}")
    return BestMetric(name, _DIRECTIONS[direction] if colon else known[name])
