"""The advisor applied to recorded metrics, with the same result as live.

A live advisor receives two things besides the records: hardware samples, of which those at least
`LAG_SECONDS` older than a record come before it (by then they are surely written), and the time
(`Advisor.tick`), which only reports a hang earlier than the next record does.
"""

from __future__ import annotations

import heapq
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import msgspec

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.record_values import RecordValues, read_record
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.hardware import HardwareSample

LAG_SECONDS = 5.0
_SIGNAL_LABELS = {
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "val_loss": "validation loss",
}


class Values(Protocol):
    """The numbers of a column: a list, or an array, which is not copied."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[float]: ...

    def __getitem__(self, at: int, /) -> float: ...


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a replay."""

    advice: list[Advice]  # every advice once, as last reported
    reports: list[Advice]  # each advice as raised, updated and closed, in order
    lacks: list[str]  # labels of the signals that the run does not record
    rows: int  # rows with a training loss
    advisor: Advisor


def replay(
    records: Iterable[RecordValues | Mapping[str, Any]],
    settings: AdvisorSettings | None = None,
    facts: JobFacts | None = None,
    hardware: Sequence[HardwareSample] = (),
    mutes: Sequence[tuple[int, str]] = (),
) -> Replay:
    """Passes the records to a new advisor, without those that a resumed run replaced.

    Args:
        records: training and evaluation records, in the order in which they were written.
        settings: the user's advisor settings.
        facts: the job's plan.
        hardware: hardware samples, oldest first.
        mutes: (step after which it was muted, kind), in order.
    """
    advisor = Advisor(settings, facts)
    reports: list[Advice] = []
    seen: set[str] = set()
    rows = sample = 0
    waiting = list(mutes)
    for row in without_replaced([read_record(record) for record in records]):
        while waiting and row.step is not None and waiting[0][0] < row.step:
            reports += advisor.mute(waiting.pop(0)[1])
        while (
            row.time is not None
            and sample < len(hardware)
            and hardware[sample].time <= row.time - LAG_SECONDS
        ):
            reports += advisor.observe_hardware(hardware[sample])
            sample += 1
        reports += advisor.observe(row)
        rows += row.loss is not None or "loss" in row.nonfinite
        seen |= {name for name in _SIGNAL_LABELS if getattr(row, name) is not None}
    for _, kind in waiting:
        reports += advisor.mute(kind)
    lacks = [label for name, label in _SIGNAL_LABELS.items() if name not in seen]
    newest: dict[str, Advice] = {}
    for advice in reports:
        newest[advice.id] = advice
    return Replay(
        advice=list(newest.values()), reports=reports, lacks=lacks, rows=rows, advisor=advisor
    )


def without_replaced(rows: Sequence[RecordValues]) -> list[RecordValues]:
    """The rows without those that later training rows replaced: a run that is resumed from a
    checkpoint writes the steps after it again."""
    kept: list[RecordValues] = []
    lowest: float = float("inf")
    for row in reversed(rows):
        step = row.step
        if step is None:
            kept.append(row)
        elif step < lowest:
            kept.append(row)
            if row.loss is not None or "loss" in row.nonfinite:
                lowest = step
    return kept[::-1]


def from_columns(
    train: Mapping[str, Values], evals: Mapping[str, Values]
) -> Iterator[RecordValues]:
    """The rows of a run from its columns by canonical name (as in the `MetricTable` of `watch`),
    by step, an evaluation after the training row of its step. NaN is a value that was not finite,
    NaN with its sign bit set a field that the row lacks."""
    # Merged one by one: a list of all rows would take more memory than the columns.
    for _, is_eval, at in heapq.merge(_places(train, 0), _places(evals, 1)):
        yield _at(evals if is_eval else train, at)


def _places(columns: Mapping[str, Values], is_eval: int) -> Iterator[tuple[float, int, int]]:
    """(step, `is_eval`, index) of each row with a finite step, by step and then by index."""
    steps = columns.get("step", ())
    found: Iterable[int] = (at for at in range(len(steps)) if math.isfinite(steps[at]))
    if not all(earlier <= later for earlier, later in pairwise(steps)):
        found = sorted(found, key=steps.__getitem__)
    return ((float(steps[at]), is_eval, at) for at in found)


def _at(columns: Mapping[str, Values], at: int) -> RecordValues:
    row: dict[str, Any] = {}
    for name, values in columns.items():
        value = float(values[at])
        lacking = math.isnan(value) and math.copysign(1.0, value) < 0
        # Norms that a tool did not measure are NaN too, so only losses count as not finite.
        if not lacking and (math.isfinite(value) or name in ("loss", "val_loss")):
            row[name] = value
    return read_record(row)


def parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """Parses JSON lines, in which NaN and Infinity are accepted.

    Returns the objects and the number of lines that are neither blank nor an object, a last line
    that is cut off among them. Of a `trainer_state.json` of transformers, which is one object,
    returns its `log_history`.
    """
    whole = _lenient(data) if b'"log_history"' in data else None
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        return [row for row in whole["log_history"] if isinstance(row, dict)], 0
    rows: list[dict[str, Any]] = []
    unreadable = 0
    for line in data.split(b"\n"):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except BAD_CONTENT:
            row = _lenient(line)
        if isinstance(row, dict):
            rows.append(row)
        else:
            unreadable += 1
    return rows, unreadable


def _lenient(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except BAD_CONTENT:
        return None
