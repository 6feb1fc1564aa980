"""The fields by which the list of adapters can be filtered and sorted. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tui_trainer.evaluation import metrics
from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.watch.query.fields import QueryField
from tui_trainer.watch.query.query import ItemQuery, QuerySchema, parse_for

_Field = QueryField[AdapterEntry]

FIELDS: tuple[_Field, ...] = (
    _Field("name", text=lambda item: item.info.name),
    _Field("tag", ("tags",), texts=lambda item: item.info.tags),
    _Field("description", text=lambda item: item.info.description),
    _Field("task", ("kind",), text=lambda item: item.info.task),
    _Field("base", ("base_model", "model"), text=lambda item: item.info.base_model),
    _Field("parent", text=lambda item: item.info.parent or ""),
    _Field("run", ("run_id",), text=lambda item: item.info.run_id or ""),
    _Field("rank", (), lambda item, now: item.info.lora.rank, descending=True),
    _Field("alpha", (), lambda item, now: item.info.lora.alpha, descending=True),
    _Field("steps", ("step",), lambda item, now: item.info.steps, descending=True),
    _Field("loss", ("train_loss",), lambda item, now: item.info.train_loss),
    _Field("val", ("val_loss",), lambda item, now: item.info.val_loss),
    _Field("recalled", (), lambda item, now: item.info.after.recalled, unit="share",
           descending=True),
    _Field("kept", (), lambda item, now: item.info.after.kept, unit="share", descending=True),
    _Field("examples", ("learned",), lambda item, now: len(item.info.examples), descending=True),
    _Field("queries", (), lambda item, now: item.queries, descending=True),
    _Field("size", ("bytes",), lambda item, now: item.size, descending=True),
    _Field("age", ("created",), lambda item, now: now - item.info.created_at, unit="seconds"),
)  # fmt: skip


def own_values(item: AdapterEntry) -> dict[str, float]:
    """The scores of an adapter that conditions can be about: `val_accuracy` of the training's
    evaluation, `f1_macro` and `test.f1_macro` of its evaluations on files."""
    return {**metrics.named_values(item.evaluations), **item.info.scores}


def chosen(
    every: Sequence[AdapterEntry], conditions: str, now: float
) -> tuple[list[AdapterEntry], str | None]:
    """The adapters that satisfy the conditions, and what is wrong with these; `now` in seconds
    since the epoch."""
    wanted = parse_for(ADAPTERS, conditions, score_names(every))
    if wanted.problem is not None:
        return [], wanted.problem
    return matching(every, wanted, now), None


def score_names(every: Iterable[AdapterEntry]) -> set[str]:
    """The names of the scores that the adapters have, for the parser of conditions."""
    return {name for item in every for name in own_values(item)}


def matching(
    every: Iterable[AdapterEntry], wanted: ItemQuery[AdapterEntry], now: float
) -> list[AdapterEntry]:
    """The adapters that satisfy parsed conditions; `now` in seconds since the epoch."""
    return [item for item in every if wanted.matches(item, now, own_values(item))]


def _text(item: AdapterEntry) -> str:
    info = item.info
    return "\n".join((info.name, info.base_model, info.task, info.description, *info.tags))


# Scores are an adapter's own values: `val_accuracy>=0.9`.
ADAPTERS = QuerySchema(
    {name: field for field in FIELDS for name in (field.name, *field.aliases)}, _text,
    only_numbers=True,
)  # fmt: skip
