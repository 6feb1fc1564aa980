"""Turns records into tables of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from tui_trainer.contracts import session as events
from tui_trainer.contracts.adapter import AdapterInfo, Measures
from tui_trainer.contracts.chat import Comparison
from tui_trainer.contracts.feedback import RatedExample
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.store.adapters.adapter_store import AdapterEntry, TrashedAdapter
from tui_trainer.text import formats

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
        return record.state
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


def divergence(measures: Measures) -> str:
    """How far an adapter moves the base's own predictions."""
    if measures.divergence is None:
        return formats.MISSING
    return f"{formats.short_number(measures.divergence)} nats per token"


def adapter_table(adapters: Sequence[AdapterEntry], live: dict[str, float]) -> events.TextTable:
    """The adapters; active ones with their weights."""
    rows = []
    for info, size, queries in adapters:
        rows.append(
            [
                info.name,
                formats.short_number(live[info.name]) if info.name in live else "",
                info.base_model,
                _rank_alpha(info),
                formats.short_number(info.train_loss),
                formats.share(info.after.recalled),
                formats.share(info.after.kept),
                formats.moment(info.created_at),
                formats.size(size),
                formats.count(len(info.examples)),
                formats.count(queries),
            ]
        )
    headers = ["NAME", "ACTIVE", "BASE", "RANK/ALPHA", "LOSS", "RECALLED", "KEPT", "CREATED",
               "SIZE", "LEARNED", "QUERIES"]  # fmt: skip
    return events.TextTable(title="adapters", headers=headers, rows=rows)


def adapter_facts(listed: AdapterEntry, problem: str | None) -> events.TextTable:
    """Everything about one adapter."""
    info = listed.info
    targets = info.lora.target_modules
    facts = [
        ("name", info.name),
        ("problem", problem or "none"),
        ("base", info.base_model),
        ("base hash", info.base_hash or formats.MISSING),
        ("parent", info.parent or formats.MISSING),
        ("created", formats.moment(info.created_at)),
        ("size", formats.size(listed.size)),
        ("queries answered", formats.count(listed.queries)),
        ("LoRA", f"rank {info.lora.rank}, alpha {formats.short_number(info.lora.alpha)}"),
        ("layers", targets if isinstance(targets, str) else ", ".join(targets)),
        ("steps", formats.count(info.steps)),
        ("loss", formats.short_number(info.train_loss)),
        *((name, formats.number(value)) for name, value in info.scores.items()),
        ("recalled", measure_text(info.before, info.after, "recalled")),
        ("kept", measure_text(info.before, info.after, "kept")),
        ("change from the base", divergence(info.after)),
        ("learned", ", ".join(info.examples) or formats.MISSING),
        ("run", info.run_id or formats.MISSING),
        ("data hash", info.data_hash or formats.MISSING),
    ]
    return _facts(f"adapter {info.name}", facts)


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


def measure_text(before: Measures, after: Measures, name: Literal["recalled", "kept"]) -> str:
    """A measure before and after training, and the number of answers that were checked, such as
    `30 % → 100 % of 10`."""
    count: int = getattr(after, f"{name}_count")
    return formats.share_change(getattr(before, name), getattr(after, name), count)


def _rank_alpha(info: AdapterInfo) -> str:
    return f"{info.lora.rank}/{formats.short_number(info.lora.alpha)}"


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> events.TextTable:
    return events.TextTable(title=title, headers=[], rows=[list(fact) for fact in facts])
