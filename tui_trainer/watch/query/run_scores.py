"""The scores of runs' evaluations in the conditions and the order of a list. No I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from tui_trainer.evaluation import metrics
from tui_trainer.watch.query.fields import QueryField, score_field
from tui_trainer.watch.query.query import ItemQuery
from tui_trainer.watch.snapshots import RunSummary

Scores = Mapping[Path, Mapping[str, float]]  # of each run, by its path; by name, as `test.accuracy`


def names_of(scores: Scores) -> set[str]:
    """The names of all scores that a run has."""
    return {name for own in scores.values() for name in own}


def named_in(query: ItemQuery[RunSummary], known: Collection[str]) -> list[str]:
    """The known scores that a query is about, in its order."""
    return list(dict.fromkeys(t.field for t in query.terms if t.key and t.field in known))


def field_of(name: str, scores: Scores) -> QueryField[RunSummary]:
    """The field of a score."""
    return score_field(name, lambda run: scores.get(run.path, {}).get(name))


def text_of(name: str, own: Mapping[str, float]) -> str:
    """The value of a score of a run with these scores."""
    return metrics.value_text(name.rpartition(".")[2], own.get(name))
