"""Comparison of two or more runs: differences in their configuration, and results. No I/O."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tui_trainer.text import formats
from tui_trainer.watch.snapshots import MetricTable, RunView

Better = Literal["low", "high", ""]
Form = Literal["number", "score", "count", "seconds", "rate"]
_HIGH = ("accuracy", "acc", "f1", "reward", "bleu", "rouge", "score", "precision", "recall")
_MOST_EVALS = 6
_FORMATS: dict[Form, Callable[[float | None], str]] = {
    "number": formats.number,
    "score": formats.score,
    "count": formats.count,
    "seconds": formats.duration,
    "rate": formats.rate,
}


@dataclass(frozen=True)
class ConfigDifference:
    """A key of the configuration and its value in each run; None where a run lacks it."""

    key: str
    values: tuple[str | None, ...]


@dataclass(frozen=True)
class ResultRow:
    """A result of each run."""

    name: str
    form: Form
    values: tuple[float | None, ...]  # by run; None where it is not known
    better: Better = ""  # which values are better; empty where neither is
    steps: tuple[float | None, ...] = ()  # the step of each value, where it matters

    @property
    def best(self) -> tuple[int, ...]:
        known = [value for value in self.values if value is not None and math.isfinite(value)]
        if not self.better or len(known) < 2 or len(set(known)) == 1:
            return ()
        winner = min(known) if self.better == "low" else max(known)
        return tuple(index for index, value in enumerate(self.values) if value == winner)

    def text(self, index: int) -> str:
        """The value of a run, with its step where that matters: `0.5000 @ 20`."""
        text = _FORMATS[self.form](self.values[index])
        step = self.steps[index] if self.steps else None
        return text if step is None else f"{text} @ {formats.count(step)}"


@dataclass(frozen=True)
class RunDiff:
    """The comparison of several runs."""

    differing: tuple[ConfigDifference, ...]
    same: int  # keys of the configuration that have one value in every run
    results: tuple[ResultRow, ...]


def compare_runs(views: Sequence[RunView]) -> RunDiff:
    """Compares runs, one column per run."""
    differing, same = differing_config([view.config for view in views])
    return RunDiff(differing, same, tuple(_results(views)))


def differing_config(
    configs: Sequence[Mapping[str, Any]],
) -> tuple[tuple[ConfigDifference, ...], int]:
    """The keys whose values differ, and the number of the other keys."""
    keys = dict.fromkeys(key for config in configs for key in config)
    differing, same = [], 0
    for key in keys:
        values = tuple(config_text(config[key]) if key in config else None for config in configs)
        if len(set(values)) == 1:
            same += 1
        else:
            differing.append(ConfigDifference(key, values))
    return tuple(differing), same


def config_text(value: Any) -> str:
    """A value of the configuration as in a job file: `2e-4`, `true`, `a, b`."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | tuple):
        return ", ".join(config_text(item) for item in value)
    if isinstance(value, float):
        return f"{value:.6g}".replace("e-0", "e-").replace("e+0", "e")
    return str(value)


def higher_is_better(name: str) -> bool:
    """Whether a higher value of an evaluation metric is better, by its name."""
    return any(part in name.casefold() for part in _HIGH)


def _results(views: Sequence[RunView]) -> list[ResultRow]:
    summaries = [view.summary for view in views]
    found = [
        ResultRow("step", "count", tuple(s.step for s in summaries)),
        ResultRow("steps in all", "count", tuple(s.total_steps for s in summaries)),
        ResultRow("epoch", "number", tuple(s.epoch for s in summaries)),
        _extreme("best loss", views, "train", "loss", tuple(s.best_loss for s in summaries)),
        ResultRow("final loss", "number", tuple(s.loss for s in summaries), "low"),
        _extreme("best val_loss", views, "evals", "val_loss",
                 tuple(s.best_val_loss for s in summaries)),
        _final(views, "val_loss"),
    ]  # fmt: skip
    for name in _other_evals(views):
        found += [_extreme(f"best {name}", views, "evals", name), _final(views, name)]
    found += [
        ResultRow("learning rate", "rate", tuple(s.learning_rate for s in summaries)),
        ResultRow("time", "seconds", tuple(elapsed(view) for view in views)),
        ResultRow("tokens", "count", tuple(tokens(view) for view in views)),
        ResultRow("tokens/s", "number", tuple(speed(view) for view in views), "high"),
    ]
    return [measure for measure in found if any(value is not None for value in measure.values)]


def _table(view: RunView, side: str) -> MetricTable:
    return view.train if side == "train" else view.evals


def _extreme(
    title: str,
    views: Sequence[RunView],
    side: str,
    name: str,
    else_values: tuple[float | None, ...] = (),
) -> ResultRow:
    high = higher_is_better(name)
    pairs = [_table(view, side).best(name, high) for view in views]
    values = [
        pair[0] if pair is not None else (else_values[index] if else_values else None)
        for index, pair in enumerate(pairs)
    ]
    steps = tuple(pair[1] if pair is not None else None for pair in pairs)
    return ResultRow(title, "number", tuple(values), "high" if high else "low", steps)


def _final(views: Sequence[RunView], name: str) -> ResultRow:
    values = tuple(view.evals.last(name) for view in views)
    return ResultRow(f"final {name}", "number", values, "high" if higher_is_better(name) else "low")


def _other_evals(views: Sequence[RunView]) -> list[str]:
    """The other evaluation metrics that at least two runs have."""
    names = dict.fromkeys(name for view in views for name in view.evals.names())
    shared = [name for name in names if sum(name in view.evals.names() for view in views) > 1]
    judged = [name for name in shared if higher_is_better(name) or "loss" in name]
    return [name for name in judged if name != "val_loss"][:_MOST_EVALS]


def elapsed(view: RunView) -> float | None:
    """Seconds of training: as recorded by the run, or from its first row to its last."""
    if view.state is not None and view.state.elapsed_seconds > 0:
        return view.state.elapsed_seconds
    time = view.train.column("time")
    known = time[time == time]
    return float(known[-1] - known[0]) if len(known) > 1 else None


def tokens(view: RunView) -> float | None:
    """Tokens trained on, from the rows."""
    if view.train.thinning != 1:
        return None
    column = view.train.column("tokens")
    known = column[column == column]
    return float(known.sum()) if len(known) else None


def speed(view: RunView) -> float | None:
    """Tokens per second over the whole run, or as last recorded by the run."""
    count, seconds = tokens(view), elapsed(view)
    if count and seconds:
        return count / seconds
    return view.summary.tokens_per_second or None
