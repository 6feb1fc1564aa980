"""The names of all metrics of an evaluation, by task."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Task

LOSSES = ("loss", "perplexity", "token_accuracy")
ANSWERS = ("exact_match", "token_f1", "bleu", "chrf", "rouge1", "rouge2", "rougeL")
CORPUS = ("bleu", "chrf")  # of all answers together, by sacrebleu
CLASSES = ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro")
LOWER_IS_BETTER = ("loss", "perplexity")
_SHORT = {"precision": "precision_macro", "recall": "recall_macro", "f1": "f1_macro"}


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
