"""The names of all metrics of an evaluation, by task."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.contracts.job import Task
from tui_trainer.text import formats

LOSSES = ("loss", "perplexity", "token_accuracy")
ANSWERS = ("exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL")
CORPUS = ("bleu", "chrf")  # of all answers together, by sacrebleu
CLASSES = ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro")
LOWER_IS_BETTER = (
    "loss", "perplexity",
    "word_perplexity", "byte_perplexity", "bits_per_byte", "brier_score", "ter",  # of lm-eval
)  # fmt: skip
_SHORT = {"precision": "precision_macro", "recall": "recall_macro", "f1": "f1_macro"}


def value_text(name: str, number: float | None) -> str:
    """Return a metric's value: shares with three decimals, others with significant digits."""
    return formats.score(number) if is_share(name) else formats.number(number)


def is_share(name: str) -> bool:
    """Whether the values of this metric are between 0 and 1."""
    return _of_task(name) not in LOWER_IS_BETTER and name not in CORPUS


def change_text(name: str, change: float) -> str:
    """Return a change of a metric, with its sign."""
    return ("-" if change < 0 else "+") + value_text(name, abs(change))


def is_lower_better(name: str) -> bool:
    """Whether a lower value of this metric is the better one; `name` may have an evaluation's name
    before it, as in `test.loss`."""
    return _of_task(name.rpartition(".")[2]) in LOWER_IS_BETTER


def named_values(evaluations: Sequence[EvaluationScores]) -> dict[str, float]:
    """Return the values of all metrics by the names that conditions use: `test.f1_macro` of the
    evaluation `test`, and `f1_macro`, `macro_f1` and `f1` of the newest evaluation that has it;
    of lm-eval `arc_easy.acc`, the newest.

    `evaluations` are in order, the newest first.
    """
    found: dict[str, float] = {}
    for evaluation in evaluations:
        for name, value in evaluation.metrics.items():
            if value is None:
                continue
            short = [alias for alias, full in _SHORT.items() if full == name]
            swapped = [f"macro_{alias}" for alias in short]
            for each in (name, *short, *swapped):
                found.setdefault(each, value)
                found.setdefault(f"{evaluation.name}.{each}", value)
            if " " in name:  # which a condition cannot contain
                found.setdefault(name.replace(" ", "."), value)
    return found


def names_of(task: Task) -> tuple[str, ...]:
    """Return the metrics that a task has."""
    return CLASSES if task == "classification" else (*LOSSES, *ANSWERS)


def chosen(wanted: Sequence[str], task: Task) -> list[str]:
    """Return the metrics that were asked for, all of the task where none was.

    Raises `UserError` for an unknown metric and for one of the other task.
    """
    if not wanted:
        return list(names_of(task))
    found = []
    for name in wanted:
        full = _SHORT.get(name, name) if task == "classification" else name
        if full in names_of(task):
            found.append(full)
            continue
        known = {*LOSSES, *ANSWERS, *CLASSES, *_SHORT}
        there = f"there are: {', '.join(names_of(task))}"
        if name in known:
            kind = "a classifier" if task == "classification" else "a model that writes answers"
            raise UserError(f"{kind} has no metric {name!r}; {there}")
        close = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        raise UserError(f"there is no metric {name!r}; {hint}{there}")
    return list(dict.fromkeys(found))


def _of_task(name: str) -> str:
    """A metric without the task of lm-eval and the filter: `acc` of `arc_easy acc,none`."""
    return name.rpartition(" ")[2].partition(",")[0]
