"""The facts about an adapter as text: the same for command line, slash commands and screen."""

from __future__ import annotations

from pathlib import Path

from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.evaluation import metrics
from tui_trainer.repl.measures import divergence, measure_text
from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.store.runs.evaluation_files import unreadable_text
from tui_trainer.text import formats

_HASH = 16  # hexadecimal digits shown


def facts_of(item: AdapterEntry, weight: float | None) -> list[tuple[str, str]]:
    """Names and values of everything about one adapter; `weight` is None for an inactive one."""
    info = item.info
    targets = info.lora.target_modules
    return [
        ("active", _active(weight)),
        ("task", info.task),
        ("description", info.description or formats.MISSING),
        ("tags", tags_text(info)),
        *(("evaluation", evaluation_text(scores)) for scores in item.evaluations),
        *([("warning", unreadable_text(item.unreadable))] if item.unreadable else []),
        ("queries", formats.count(item.queries)),
        ("recalled", measure_text(info.before, info.after, "recalled")),
        ("kept", measure_text(info.before, info.after, "kept")),
        ("change", divergence(info.after)),
        ("trained on", training_source(info)),
        ("learned", ", ".join(info.examples) or formats.MISSING),
        ("steps", formats.count(info.steps)),
        ("loss", formats.number(info.train_loss)),
        *((name, formats.number(value)) for name, value in scores_of(info).items()),
        ("LoRA", f"rank {info.lora.rank}, alpha {formats.short_number(info.lora.alpha)}"),
        ("layers", targets if isinstance(targets, str) else ", ".join(targets)),
        ("base", info.base_model),
        ("base hash", _short_hash(info.base_hash)),
        ("data hash", _short_hash(info.data_hash)),
        ("parent", info.parent or formats.MISSING),
        ("run", info.run_id or formats.MISSING),
        ("created", formats.moment(info.created_at)),
        ("size", formats.size(item.size)),
    ]


def cells_of(item: AdapterEntry, weight: float | None) -> dict[str, str]:
    """The cells of an adapter's row in a list, by column."""
    info = item.info
    return {
        "name": info.name,
        "live": "" if weight is None else formats.short_number(weight),
        "base": info.base_model,
        "task": info.task,
        "rank": f"{info.lora.rank}/{formats.short_number(info.lora.alpha)}",
        "loss": formats.number(info.train_loss, 3),
        "val": formats.number(info.val_loss, 3),
        "recalled": formats.share(info.after.recalled),
        "kept": formats.share(info.after.kept),
        "created": formats.moment(info.created_at),
        "size": formats.size(item.size),
        "taught": formats.count(len(info.examples) or None),
        "queries": formats.count(item.queries),
        "tags": " ".join(info.tags),
    }


def scores_of(info: AdapterInfo) -> dict[str, float]:
    """The metrics of the evaluation of an adapter's weights, by name."""
    known = {} if info.val_loss is None else {"val_loss": info.val_loss}
    return {**known, **info.scores}


def evaluation_text(scores: EvaluationScores) -> str:
    """The scores of an evaluation in one line, with its name and what was measured."""
    values = ", ".join(
        f"{name} {metrics.value_text(name, value)}" for name, value in scores.metrics.items()
    )
    files = ", ".join(Path(file).name for file in scores.files)
    rows = formats.plural(scores.rows, "row")
    return f"{scores.name}: {values} ({rows} of {files}, {formats.moment(scores.time)})"


def training_source(info: AdapterInfo) -> str:
    """The number of examples it was trained on, or the files of its run."""
    count = len(info.examples)
    return formats.plural(count, "example") if count else "the files of its run"


def tags_text(info: AdapterInfo) -> str:
    """The tags in one line."""
    return ", ".join(info.tags) or formats.MISSING


def _active(weight: float | None) -> str:
    if weight is None:
        return "no"
    return "yes" if weight == 1 else f"yes, weight {formats.short_number(weight)}"


def _short_hash(value: str | None) -> str:
    return formats.MISSING if value is None else f"{value[:_HASH]}…"
