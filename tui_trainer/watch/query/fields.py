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
class Field:
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


FIELDS: tuple[Field, ...] = (
    Field("name", words=lambda run: run.name),
    Field("status", ("state",), words=lambda run: run.status),
    Field("tool", ("kind",), words=lambda run: f"{run.tool} {run.kind}".strip()),
    Field("id", words=lambda run: run.id),
    Field("path", words=lambda run: str(run.path)),
    Field("message", words=lambda run: run.message),
    Field("step", ("steps",), lambda run, now: run.step, falling=True),
    Field("total", ("total_steps",), lambda run, now: run.total_steps, falling=True),
    Field("progress", ("done",), lambda run, now: _progress(run), unit="share", falling=True),
    Field("epoch", (), lambda run, now: run.epoch, falling=True),
    Field("loss", ("train_loss",), lambda run, now: run.loss),
    Field("best", ("best_loss",), lambda run, now: run.best_loss),
    Field("val", ("best_val", "best_val_loss", "val_loss"), lambda run, now: run.best_val_loss),
    Field("trend", (), lambda run, now: run.trend, unit="share"),
    Field("lr", ("learning_rate",), lambda run, now: run.learning_rate, falling=True),
    Field("speed", ("tokens", "tokens/s", "tok/s", "tokens_per_second"),
          lambda run, now: run.tokens_per_second, falling=True),
    Field("eta", ("left",), lambda run, now: _left(run), unit="seconds"),
    Field("age", ("updated",), lambda run, now: _since(run.updated_at, now), unit="seconds"),
    Field("started", ("created",), lambda run, now: _since(run.created_at, now), unit="seconds"),
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
