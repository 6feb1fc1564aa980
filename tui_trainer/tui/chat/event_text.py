"""Chat events as text. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.repl.tables import announcement
from tui_trainer.text import formats
from tui_trainer.text.formats import short_number
from tui_trainer.tui.common import run_status

Tone = Literal["note", "good", "caution", "problem"]
BASE = "the base model"

_TRAINING = {
    "queued": ("queued", run_status.FAINT),
    "training": ("training", run_status.GOOD),
    "checking": ("checking", run_status.ACCENT),
    "live": ("live", run_status.GOOD),
    "refused": ("refused", run_status.CAUTION),
    "failed": ("failed", run_status.BAD),
    "cancelled": ("cancelled", run_status.CAUTION),
}
_TONES: dict[str, Tone] = {
    "live": "good", "refused": "caution", "failed": "problem", "cancelled": "caution",
}  # fmt: skip


def training_state(state: str) -> tuple[str, str]:
    """The label and the colour of a training's state."""
    return _TRAINING.get(state, (state, run_status.FAINT))


def live_text(adapters: Mapping[str, float]) -> str:
    """The active adapters: `the base model`, a name, or `0.7 a + 0.3 b`."""
    if not adapters:
        return BASE
    if list(adapters.values()) == [1.0]:
        return next(iter(adapters))
    return " + ".join(f"{short_number(weight)} {name}" for name, weight in adapters.items())


def answered_detail(answer: events.Answered) -> str:
    """The model that answered, its tokens and its time."""
    parts = [answer.adapter or BASE]
    if answer.tokens:
        took = formats.milliseconds(1000 * answer.seconds)
        parts.append(f"{formats.plural(answer.tokens, 'token')} in {took}")
        if answer.seconds:
            parts.append(f"{formats.short_number(answer.tokens / answer.seconds)} tokens/s")
    if answer.cancelled or answer.finish == "repetition":
        parts.append("cut off")
    return " · ".join(parts)


def rating_text(rated: events.Rated) -> str:
    """A stored rating as a line."""
    updated = " updated" if rated.replaced else ""
    weight = short_number(rated.weight)
    text = f"feedback {rated.number}{updated}: {rated.rating} (weight {weight})"
    if rated.taught is None:
        return f"{text}; needs a correction before training: /fix TEXT"
    return f"{text}; answer to learn: {rated.taught}"


def question_of(
    event: events.Flagged | events.Confirm | events.Revision | TrainingRecord,
) -> tuple[str, str, str, str | None, bool]:
    """The question, the command that confirms it, that command's label, the command that declines
    it (None: none is needed), and whether the question stays open after another command."""
    match event:
        case events.Flagged(found=found):
            text = f"this may contain a secret ({', '.join(found)}); nothing was stored"
            return text, "/keep", "store it anyway", None, False
        case events.Confirm(text=text):
            return text, "/yes", "confirm", "/no", False
        case events.Revision():
            text = "is the revised answer right?"
            return text, "/accept", "accept it as the right answer", "/reject", False
        case _:
            text = f"training {event.id} was refused: {event.message}"
            return text, f"/override {event.id}", "activate it anyway", None, True


def training_text(record: TrainingRecord) -> tuple[Tone, str]:
    """The tone and the line for a training's new state."""
    label, _ = training_state(record.state)
    text = f"training {record.id} {label}"
    if record.state in ("queued", "training"):
        return "note", f"{text}: {announcement(record)}"
    message = f": {record.message}" if record.message else ""
    return _TONES.get(record.state, "note"), f"{text}{message}"


def buffer_text(buffer: events.BufferStatus) -> str:
    """The pending examples, and how many of them start a training."""
    if buffer.threshold:
        return f"{formats.count(buffer.count)} of {formats.plural(buffer.threshold, 'example')}"
    examples = formats.plural(buffer.count, "example")
    return examples if buffer.weight_threshold else f"{examples}, /train starts"


def weight_text(buffer: events.BufferStatus) -> str:
    """The summed weight of the pending examples, and the sum that starts a training."""
    limit = f" of {short_number(buffer.weight_threshold)}" if buffer.weight_threshold else ""
    return f"weight {short_number(buffer.weight)}{limit}"
