"""Turns records into tables of text."""

from __future__ import annotations

from collections.abc import Sequence

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.protocol import Comparison
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.contracts.teaching.feedback import RatedExample
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.repl.adapter_facts import cells_of, facts_of
from tui_trainer.repl.measures import divergence, measure_text
from tui_trainer.store.adapters.adapter_store import AdapterEntry, TrashedAdapter
from tui_trainer.text import formats

_ADAPTER_COLUMNS = {
    "name": "NAME", "live": "ACTIVE", "base": "BASE", "task": "TASK", "rank": "RANK/ALPHA",
    "loss": "LOSS", "val": "VAL LOSS", "recalled": "RECALLED", "kept": "KEPT",
    "created": "CREATED", "size": "SIZE", "taught": "EXAMPLES", "queries": "QUERIES",
    "tags": "TAGS",
}  # fmt: skip
_SHORT = 48  # characters of a text in a table


def feedback_table(examples: Sequence[RatedExample]) -> events.TextTable:
    """The feedback with the numbers that commands take, without dropped examples."""
    rows = [
        [
            str(number),
            example.rating,
            state(example),
            formats.one_line(example.question, _SHORT),
            formats.one_line(example.right_answer or f"not: {example.answer}", _SHORT),
            formats.one_line(example.note, _SHORT),
        ]
        for number, example in enumerate(examples, start=1)
        if not example.dropped
    ]
    headers = ["N", "RATING", "STATE", "QUESTION", "RIGHT ANSWER", "NOTE"]
    return events.TextTable(title="feedback", headers=headers, rows=rows)


def example_table(example: RatedExample, number: int) -> events.TextTable:
    """Everything about one example."""
    facts = [
        ("number", str(number)),
        ("id", example.id),
        ("time", formats.moment(example.time)),
        ("rating", f"{example.rating} (weight {formats.short_number(example.weight)})"),
        ("state", state(example)),
        ("question", example.question),
        ("earlier turns", str(len(example.turns) - 1)),
        ("answer", example.answer),
        ("right answer", example.right_answer or formats.MISSING),
        ("note", example.note or formats.MISSING),
        ("flagged as", ", ".join(example.flags) or formats.MISSING),
        ("answered by", example.adapter or "the base"),
        ("base", example.base_model),
        ("learned by", example.trained_in or formats.MISSING),
    ]
    return _facts(f"feedback {number}", facts)


def training_table(records: Sequence[TrainingRecord]) -> events.TextTable:
    """The trainings, newest last."""
    rows = [
        [
            record.id,
            record.state,
            formats.steps(record.step, record.total_steps)
            if record.total_steps
            else formats.MISSING,
            formats.MISSING
            if record.learned is None
            else formats.steps(record.learned, record.taught),
            formats.count(len(record.examples)),
            formats.share_change(record.before.recalled, record.after.recalled),
            formats.share_change(record.before.kept, record.after.kept),
            record.adapter or formats.MISSING,
            record.message,
        ]
        for record in records
    ]
    headers = [
        "ID",
        "STATE",
        "STEP",
        "LEARNED",
        "EXAMPLES",
        "RECALLED",
        "KEPT",
        "ADAPTER",
        "MESSAGE",
    ]
    return events.TextTable(title="trainings", headers=headers, rows=rows)


def progress(record: TrainingRecord) -> str:
    """How far a training has come: `8 of 10 learned, step 12, about 40 s left`."""
    if record.state != "training":
        return f"{record.state}: {record.message}" if record.message else record.state
    parts = []
    if record.learned is not None:
        parts.append(f"{record.learned} of {record.taught} learned")
    if record.step:
        parts.append(f"step {formats.count(record.step)}")
    if record.eta_seconds is not None:
        parts.append(f"about {formats.duration(record.eta_seconds)} left")
    elif record.expected_seconds is not None:
        parts.append(f"takes about {formats.duration(record.expected_seconds)}")
    return ", ".join(parts) or record.message or record.state


def announcement(record: TrainingRecord) -> str:
    """What starts: `10 examples, takes about 2:30, time limit 10:00`; the limit only if it is set
    already."""
    parts = [formats.plural(len(record.examples), "example")]
    if record.expected_seconds is not None:
        parts.append(f"takes about {formats.duration(record.expected_seconds)}")
    if record.limit_seconds is not None:
        parts.append(f"time limit {formats.duration(record.limit_seconds)}")
    return ", ".join(parts)


def result_table(record: TrainingRecord, loss: float | None, path: str | None) -> events.TextTable:
    """What a training has come to: loss, recalled and kept answers, and its adapter's folder."""
    facts = [
        ("training", record.id),
        ("state", record.state),
        ("steps", formats.count(record.step)),
        ("loss", formats.MISSING if loss is None else f"{formats.short_number(loss)} nats"),
        ("recalled", measure_text(record.before, record.after, "recalled")),
        ("kept", measure_text(record.before, record.after, "kept")),
        ("change from the base", divergence(record.after)),
        ("adapter", path or record.adapter or formats.MISSING),
        ("message", record.message or formats.MISSING),
    ]
    return _facts(f"training {record.id}", facts)


def adapter_table(adapters: Sequence[AdapterEntry], live: dict[str, float]) -> events.TextTable:
    """The adapters; active ones with their weights."""
    rows = []
    for item in adapters:
        cells = cells_of(item, live.get(item.info.name))
        rows.append([cells[column] for column in _ADAPTER_COLUMNS])
    headers = list(_ADAPTER_COLUMNS.values())
    return events.TextTable(title="adapters", headers=headers, rows=rows)


def adapter_facts(
    item: AdapterEntry, weight: float | None, problem: str | None
) -> events.TextTable:
    """Everything about one adapter; `weight` is None for an inactive one, `problem` says why it
    cannot be used."""
    facts = [("name", item.info.name), ("problem", problem or "none"), *facts_of(item, weight)]
    return _facts(f"adapter {item.info.name}", facts)


def measures_table(a: AdapterInfo, b: AdapterInfo) -> events.TextTable:
    """The measures of two adapters: recalled and kept answers, loss, rank."""
    rows = [
        ["recalled", formats.share(a.after.recalled), formats.share(b.after.recalled)],
        ["kept", formats.share(a.after.kept), formats.share(b.after.kept)],
        ["loss", formats.short_number(a.train_loss), formats.short_number(b.train_loss)],
        ["rank/alpha", _rank_alpha(a), _rank_alpha(b)],
    ]
    return events.TextTable(title="measured", headers=["", a.name, b.name], rows=rows)


def comparison_table(comparison: Comparison, a: str, b: str) -> events.TextTable:
    """The norms of two adapters' changes, layer by layer and as a whole."""
    rows = [
        [
            item.layer or "all layers",
            formats.short_number(item.a),
            formats.short_number(item.b),
            formats.short_number(item.difference),
            formats.short_number(item.cosine),
        ]
        for item in (*comparison.layers, comparison.whole)
    ]
    headers = ["LAYER", a, b, "DIFFERENCE", "COSINE"]
    return events.TextTable(title="size of the changes", headers=headers, rows=rows)


def answers_table(rows: Sequence[Sequence[str]], a: str, b: str) -> events.TextTable:
    """Questions with the answers of two adapters."""
    cells = [list(row) for row in rows]
    return events.TextTable(title="their answers", headers=["QUESTION", a, b], rows=cells)


def trash_table(deleted: Sequence[TrashedAdapter]) -> events.TextTable:
    """The adapters in the trash."""
    rows = [[item.name, formats.moment(item.deleted_at)] for item in deleted]
    return events.TextTable(title="trash", headers=["NAME", "DELETED"], rows=rows)


def state(example: RatedExample) -> str:
    """The state of an example: dropped, learned, pending or without a correction."""
    if example.dropped:
        return "dropped"
    if example.trained_in is not None:
        return f"learned by {example.trained_in}"
    return "needs a correction" if example.needs_correction else "pending"


def _rank_alpha(info: AdapterInfo) -> str:
    return f"{info.lora.rank}/{formats.short_number(info.lora.alpha)}"


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> events.TextTable:
    return events.TextTable(title=title, headers=[], rows=[list(fact) for fact in facts])
