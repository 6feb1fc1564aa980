"""The advisor over what was recorded: gives what it gave live.

Two things are told to a live advisor besides the records: hardware samples, of which those at
least `LAG_SECONDS` older than a record come before it (so that they were written for sure), and
the time (`Advisor.tick`), which only brings a hang
forward that the next record tells as well.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.record_values import RecordValues, read
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.hardware import HardwareSample

LAG_SECONDS = 5.0
_SIGNALS = {
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "val_loss": "validation loss",
}


class Replay(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay gave: every advice once, as last said, and everything that was said in
    order; `lacks` names the signals that the run does not record, `rows` counts losses."""

    advice: list[Advice]
    said: list[Advice]
    lacks: list[str]
    rows: int
    advisor: Advisor


def replay(
    records: Iterable[RecordValues | Mapping[str, Any]],
    settings: AdvisorSettings | None = None,
    facts: JobFacts | None = None,
    hardware: Sequence[HardwareSample] = (),
    mutes: Sequence[tuple[int, str]] = (),
) -> Replay:
    """Feeds the records that stand, in order, to a new advisor; `mutes` are (step, kind) of what
    was muted after so many steps."""
    advisor = Advisor(settings, facts)
    said: list[Advice] = []
    seen: set[str] = set()
    rows = sample = 0
    waiting = list(mutes)
    for reading in standing([read(record) for record in records]):
        while waiting and reading.step is not None and waiting[0][0] < reading.step:
            said += advisor.mute(waiting.pop(0)[1])
        while (
            reading.time is not None
            and sample < len(hardware)
            and hardware[sample].time <= reading.time - LAG_SECONDS
        ):
            said += advisor.observe_hardware(hardware[sample])
            sample += 1
        said += advisor.observe(reading)
        rows += reading.loss is not None or "loss" in reading.nonfinite
        seen |= {name for name in _SIGNALS if getattr(reading, name) is not None}
    for _, kind in waiting:
        said += advisor.mute(kind)
    lacks = [words for name, words in _SIGNALS.items() if name not in seen]
    newest: dict[str, Advice] = {}
    for advice in said:
        newest[advice.id] = advice
    return Replay(advice=list(newest.values()), said=said, lacks=lacks, rows=rows, advisor=advisor)


def standing(readings: Sequence[RecordValues]) -> list[RecordValues]:
    """Without the rows that later training rows replaced: a run that was resumed from a
    checkpoint wrote the steps after it again."""
    kept: list[RecordValues] = []
    lowest: float = float("inf")
    for reading in reversed(readings):
        step = reading.step
        if step is None:
            kept.append(reading)
        elif step < lowest:
            kept.append(reading)
            if reading.loss is not None or "loss" in reading.nonfinite:
                lowest = step
    return kept[::-1]


def from_columns(
    train: Mapping[str, Sequence[float]], evals: Mapping[str, Sequence[float]]
) -> Iterator[RecordValues]:
    """The rows of a run that was read into columns by canonical name (as in the `MetricTable` of
    `watch`), an evaluation after the training row of its step. NaN stands for a value that was
    not finite, NaN with its sign bit set for a field that the row lacks."""
    found = [(float(step), 0, at, train) for at, step in enumerate(train.get("step", ()))]
    found += [(float(step), 1, at, evals) for at, step in enumerate(evals.get("step", ()))]
    found = [item for item in found if math.isfinite(item[0])]
    for _, _, at, columns in sorted(found, key=lambda item: item[:3]):
        yield _at(columns, at)


def _at(columns: Mapping[str, Sequence[float]], at: int) -> RecordValues:
    row: dict[str, Any] = {}
    for name, values in columns.items():
        value = float(values[at])
        lacking = math.isnan(value) and math.copysign(1.0, value) < 0
        # Norms that a tool did not measure are NaN too, so only losses count as broken.
        if not lacking and (math.isfinite(value) or name in ("loss", "val_loss")):
            row[name] = value
    return read(row)


def parse(data: bytes) -> tuple[list[dict[str, Any]], int]:
    """The objects of JSON lines, bare NaN and Infinity among them, and how many lines that are
    not blank are none. A torn last line counts as one. A `trainer_state.json` of transformers,
    one object over the whole file, gives its history."""
    whole = _lenient(data) if b'"log_history"' in data else None
    if isinstance(whole, dict) and isinstance(whole.get("log_history"), list):
        return [row for row in whole["log_history"] if isinstance(row, dict)], 0
    rows: list[dict[str, Any]] = []
    odd = 0
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
            odd += 1
    return rows, odd


def _lenient(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8-sig"))
    except BAD_CONTENT:
        return None
