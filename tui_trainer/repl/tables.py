"""Records as rows of text."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui_trainer.contracts import session as events
from tui_trainer.contracts.adapter import AdapterInfo, Measures
from tui_trainer.contracts.chat import Comparison
from tui_trainer.contracts.feedback import RatedExample
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.store.adapters.adapter_store import AdapterEntry, TrashedAdapter

NONE = "–"
_SHORT = 48  # characters of a text in a table


def feedback_table(examples: Sequence[RatedExample]) -> events.TextTable:
    """What was rated, with the numbers that commands take; dropped ones are left out."""
    rows = [
        [
            str(number),
            example.rating,
            state(example),
            short(example.question),
            short(example.right_answer or f"not: {example.answer}"),
            short(example.note),
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
        ("time", moment(example.time)),
        ("rating", f"{example.rating} (weight {example.weight:g})"),
        ("state", state(example)),
        ("question", example.question),
        ("earlier turns", str(len(example.turns) - 1)),
        ("answer", example.answer),
        ("right answer", example.right_answer or NONE),
        ("note", example.note or NONE),
        ("looks like", ", ".join(example.flags) or NONE),
        ("answered by", example.adapter or "the base"),
        ("base", example.base_model),
        ("learned by", example.trained_in or NONE),
    ]
    return _facts(f"feedback {number}", facts)


def training_table(records: Sequence[TrainingRecord]) -> events.TextTable:
    """The trainings, newest last."""
    rows = [
        [
            record.id,
            record.state,
            f"{record.step}/{record.total_steps}" if record.total_steps else NONE,
            str(len(record.examples)),
            change(record.before.recalled, record.after.recalled),
            change(record.before.kept, record.after.kept),
            record.adapter or NONE,
            record.message,
        ]
        for record in records
    ]
    headers = ["ID", "STATE", "STEP", "EXAMPLES", "RECALLED", "KEPT", "ADAPTER", "MESSAGE"]
    return events.TextTable(title="trainings", headers=headers, rows=rows)


def adapter_table(adapters: Sequence[AdapterEntry], live: dict[str, float]) -> events.TextTable:
    """The adapters, with those that answer marked by their weights."""
    rows = []
    for info, size, queries in adapters:
        rows.append(
            [
                info.name,
                f"{live[info.name]:g}" if info.name in live else "",
                info.base_model,
                f"{info.lora.rank}/{info.lora.alpha:g}",
                number(info.train_loss),
                share(info.after.recalled),
                share(info.after.kept),
                moment(info.created_at),
                bytes_text(size),
                str(len(info.examples)),
                str(queries),
            ]
        )
    headers = ["NAME", "LIVE", "BASE", "RANK/ALPHA", "LOSS", "RECALLED", "KEPT", "CREATED", "SIZE",
               "LEARNED", "QUERIES"]  # fmt: skip
    return events.TextTable(title="adapters", headers=headers, rows=rows)


def adapter_facts(listed: AdapterEntry, problem: str | None) -> events.TextTable:
    """Everything about one adapter."""
    info = listed.info
    targets = info.lora.target_modules
    facts = [
        ("name", info.name),
        ("problem", problem or "none"),
        ("base", info.base_model),
        ("base hash", info.base_hash or NONE),
        ("parent", info.parent or NONE),
        ("created", moment(info.created_at)),
        ("size", bytes_text(listed.size)),
        ("queries answered", str(listed.queries)),
        ("LoRA", f"rank {info.lora.rank}, alpha {info.lora.alpha:g}"),
        ("layers", targets if isinstance(targets, str) else ", ".join(targets)),
        ("steps", NONE if info.steps is None else str(info.steps)),
        ("loss", number(info.train_loss)),
        ("recalled", measured(info.before, info.after, "recalled")),
        ("kept", measured(info.before, info.after, "kept")),
        ("learned", ", ".join(info.examples) or NONE),
        ("run", info.run_id or NONE),
        ("data hash", info.data_hash or NONE),
    ]
    return _facts(f"adapter {info.name}", facts)


def measures_table(a: AdapterInfo, b: AdapterInfo) -> events.TextTable:
    """What two adapters were measured to recall and keep."""
    rows = [
        ["recalled", share(a.after.recalled), share(b.after.recalled)],
        ["kept", share(a.after.kept), share(b.after.kept)],
        ["loss", number(a.train_loss), number(b.train_loss)],
        ["rank/alpha", *(f"{i.lora.rank}/{i.lora.alpha:g}" for i in (a, b))],
    ]
    return events.TextTable(title="measured", headers=["", a.name, b.name], rows=rows)


def comparison_table(comparison: Comparison, a: str, b: str) -> events.TextTable:
    """The norms of two adapters' changes, layer by layer and as a whole."""
    rows = [
        [
            item.layer or "all layers",
            number(item.a),
            number(item.b),
            number(item.difference),
            number(item.cosine),
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
    """What was deleted."""
    rows = [[item.name, moment(item.deleted_at)] for item in deleted]
    return events.TextTable(title="trash", headers=["NAME", "DELETED"], rows=rows)


def state(example: RatedExample) -> str:
    """Where an example stands, in words."""
    if example.dropped:
        return "dropped"
    if example.trained_in is not None:
        return f"learned by {example.trained_in}"
    return "needs a correction" if example.needs_correction else "waits for training"


def measured(before: Measures, after: Measures, what: str) -> str:
    """Such as 30 % -> 100 % of 10."""
    count = getattr(after, f"{what}_count")
    text = change(getattr(before, what), getattr(after, what))
    return f"{text} of {count}" if count else text


def change(before: float | None, after: float | None) -> str:
    """Two shares, before and after; the first is left out where it is not known."""
    if after is None:
        return NONE
    return share(after) if before is None else f"{share(before)} → {share(after)}"


def share(value: float | None) -> str:
    """A share as per cent. Not rounded up to 100: one miss of many is to be seen."""
    if value is None:
        return NONE
    percent = value * 100
    text = f"{percent:.0f}" if percent == 100 or percent < 99.5 else f"{min(percent, 99.9):.1f}"
    return f"{text} %"


def number(value: float | None) -> str:
    """Three significant digits."""
    return NONE if value is None else f"{value:.3g}"


def bytes_text(amount: int) -> str:
    """Bytes in binary units."""
    size = float(amount)
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GiB"


def moment(seconds: float) -> str:
    """A point in time as local date and minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds else NONE


def short(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else f"{line[: _SHORT - 1]}…"


def _facts(title: str, facts: Sequence[tuple[str, str]]) -> events.TextTable:
    return events.TextTable(title=title, headers=[], rows=[list(fact) for fact in facts])
