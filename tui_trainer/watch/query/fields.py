"""The fields by which a list can be filtered and sorted, and those of runs. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.evaluation import metrics
from tui_trainer.watch.snapshots import RunSummary

Unit = Literal["", "seconds", "share"]
Item = TypeVar("Item")


@dataclass(frozen=True)
class QueryField(Generic[Item]):
    """A field of an item; one of `number`, `text` and `texts` returns its value."""

    name: str
    aliases: tuple[str, ...] = ()
    number: Callable[[Item, float], float | None] | None = None  # at a time, seconds since epoch
    text: Callable[[Item], str] | None = None
    texts: Callable[[Item], Sequence[str]] | None = None  # several values; one must match
    # How a number is written in a query: "seconds" as `90`, `5min`, `2h`, `3d`; "share" as `0.05`
    # or `5%`.
    unit: Unit = ""
    descending: bool = False  # sorted with the largest first by default

    def values(self, item: Item) -> list[str]:
        """The values of a field with text."""
        if self.texts is not None:
            return list(self.texts(item))
        return [self.text(item)] if self.text is not None else []


def _progress(run: RunSummary) -> float | None:
    return run.step / run.total_steps if run.step is not None and run.total_steps else None


FIELDS: tuple[QueryField[RunSummary], ...] = (
    QueryField("name", text=lambda run: run.name),
    QueryField("status", ("state",), text=lambda run: run.status),
    QueryField("tool", ("kind",), text=lambda run: f"{run.tool} {run.kind}".strip()),
    QueryField("id", text=lambda run: run.id),
    QueryField("path", text=lambda run: str(run.path)),
    QueryField("message", text=lambda run: run.message),
    QueryField("step", ("steps",), lambda run, now: run.step, descending=True),
    QueryField("total", ("total_steps",), lambda run, now: run.total_steps, descending=True),
    QueryField("progress", ("done",), lambda run, now: _progress(run), unit="share",
          descending=True),
    QueryField("epoch", (), lambda run, now: run.epoch, descending=True),
    QueryField("loss", ("train_loss",), lambda run, now: run.loss),
    QueryField("best", ("best_loss",), lambda run, now: run.best_loss),
    QueryField(
        "val", ("best_val", "best_val_loss", "val_loss"), lambda run, now: run.best_val_loss
    ),
    QueryField("trend", (), lambda run, now: run.trend, unit="share"),
    QueryField("lr", ("learning_rate",), lambda run, now: run.learning_rate, descending=True),
    QueryField("speed", ("tokens", "tokens/s", "tok/s", "tokens_per_second"),
          lambda run, now: run.tokens_per_second, descending=True),
    QueryField("eta", ("left",), lambda run, now: _remaining(run), unit="seconds"),
    QueryField("age", ("updated",), lambda run, now: _since(run.updated_at, now), unit="seconds"),
    QueryField(
        "started", ("created",), lambda run, now: _since(run.created_at, now), unit="seconds"
    ),
)  # fmt: skip

BY_NAME = {name: field for field in FIELDS for name in (field.name, *field.aliases)}


def score_field(name: str, value: Callable[[Item], float | None]) -> QueryField[Item]:
    """The field of a score that an item has from its evaluations, the best first by default."""
    return QueryField(
        name, number=lambda item, now: value(item), descending=not metrics.is_lower_better(name)
    )


def sort_runs(
    runs: Iterable[RunSummary], by: str | None, descending: bool = False, now: float = 0.0
) -> list[RunSummary]:
    """Sorts runs by a field, as `sort_items`."""
    return sort_items(runs, None if by is None else BY_NAME[by], descending, now)


def sort_items(
    items: Iterable[Item],
    field: QueryField[Item] | None,
    descending: bool = False,
    now: float = 0.0,
) -> list[Item]:
    """Sorts items by a field, those without a value last. The sort is stable. Without a field the
    order is kept, or reversed if `descending`."""
    listed = list(items)
    if field is None:
        return listed[::-1] if descending else listed
    known: list[tuple[float | str, Item]] = []
    lacking = []
    for item in listed:
        value: float | str | None
        if field.number is not None:
            value = field.number(item, now)
        else:
            texts = field.values(item)
            value = ", ".join(texts).casefold() if texts else None
        if value is None or value != value:
            lacking.append(item)
        else:
            known.append((value, item))
    known.sort(key=lambda pair: pair[0], reverse=descending)  # stable both ways
    return [item for _, item in known] + lacking


def _remaining(run: RunSummary) -> float | None:
    """The remaining time of an active run; that of an ended run is meaningless."""
    return run.eta_seconds if run.status in ACTIVE_STATES else None


def _since(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment
