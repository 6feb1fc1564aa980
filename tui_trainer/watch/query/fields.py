"""What a run of the list can be asked for by name, and the order of a list. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.watch.snapshots import RunSummary

Unit = Literal["", "seconds", "share"]
Number = Callable[[RunSummary, float], float | None]
Words = Callable[[RunSummary], str]


@dataclass(frozen=True)
class QueryField:
    """A fact by name: `number` or `words` gives it; `falling` says that the largest come first.

    `unit` tells how a number is written: `seconds` as `90`, `5min`, `2h`, `3d`; a `share` as
    `0.05` or `5%`.
    """

    name: str
    also: tuple[str, ...] = ()
    number: Number | None = None
    words: Words | None = None
    unit: Unit = ""
    falling: bool = False


def _progress(run: RunSummary) -> float | None:
    return run.step / run.total_steps if run.step is not None and run.total_steps else None


FIELDS: tuple[QueryField, ...] = (
    QueryField("name", words=lambda run: run.name),
    QueryField("status", ("state",), words=lambda run: run.status),
    QueryField("tool", ("kind",), words=lambda run: f"{run.tool} {run.kind}".strip()),
    QueryField("id", words=lambda run: run.id),
    QueryField("path", words=lambda run: str(run.path)),
    QueryField("message", words=lambda run: run.message),
    QueryField("step", ("steps",), lambda run, now: run.step, falling=True),
    QueryField("total", ("total_steps",), lambda run, now: run.total_steps, falling=True),
    QueryField("progress", ("done",), lambda run, now: _progress(run), unit="share", falling=True),
    QueryField("epoch", (), lambda run, now: run.epoch, falling=True),
    QueryField("loss", ("train_loss",), lambda run, now: run.loss),
    QueryField("best", ("best_loss",), lambda run, now: run.best_loss),
    QueryField(
        "val", ("best_val", "best_val_loss", "val_loss"), lambda run, now: run.best_val_loss
    ),
    QueryField("trend", (), lambda run, now: run.trend, unit="share"),
    QueryField("lr", ("learning_rate",), lambda run, now: run.learning_rate, falling=True),
    QueryField("speed", ("tokens", "tokens/s", "tok/s", "tokens_per_second"),
          lambda run, now: run.tokens_per_second, falling=True),
    QueryField("eta", ("left",), lambda run, now: _left(run), unit="seconds"),
    QueryField("age", ("updated",), lambda run, now: _since(run.updated_at, now), unit="seconds"),
    QueryField(
        "started", ("created",), lambda run, now: _since(run.created_at, now), unit="seconds"
    ),
)  # fmt: skip

BY_NAME = {name: field for field in FIELDS for name in (field.name, *field.also)}


def arrange(
    runs: Iterable[RunSummary], by: str | None, falling: bool = False, now: float = 0.0
) -> list[RunSummary]:
    """The runs ordered by a field, those that lack it last; equals stay as they were.

    Without a field the order stays, or is turned round.
    """
    listed = list(runs)
    if by is None:
        return listed[::-1] if falling else listed
    field = BY_NAME[by]
    known: list[tuple[float | str, RunSummary]] = []
    lacking = []
    for run in listed:
        value: float | str | None
        if field.number is not None:
            value = field.number(run, now)
        else:
            value = field.words(run).casefold() if field.words is not None else None
        if value is None or value != value:
            lacking.append(run)
        else:
            known.append((value, run))
    known.sort(key=lambda pair: pair[0], reverse=falling)  # stable both ways
    return [run for _, run in known] + lacking


def _left(run: RunSummary) -> float | None:
    """The time left of a run that still runs: what an ended one had left says nothing."""
    return run.eta_seconds if run.status in ACTIVE_STATES else None


def _since(moment: float | None, now: float) -> float | None:
    return None if moment is None else now - moment
