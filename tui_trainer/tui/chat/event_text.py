"""What happens in a chat, in words. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tui_trainer.contracts import session as events
from tui_trainer.contracts.adapter import Measures
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.text import formats
from tui_trainer.tui.common import run_status

Tone = Literal["note", "good", "caution", "problem"]

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
    """One word and one colour for the state of a training."""
    return _TRAINING.get(state, (state, run_status.FAINT))


def live_words(adapters: Mapping[str, float]) -> str:
    """What answers: `the base`, a name, or `0.7 a + 0.3 b`."""
    if not adapters:
        return "the base"
    if list(adapters.values()) == [1.0]:
        return next(iter(adapters))
    return " + ".join(f"{weight:g} {name}" for name, weight in adapters.items())


def answered_detail(answer: events.Answered) -> str:
    """Who answered, and how much in which time."""
    parts = [answer.adapter or "the base"]
    if answer.tokens:
        seconds = answer.seconds
        took = f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"
        parts.append(f"{answer.tokens} tokens in {took}")
    if answer.cancelled:
        parts.append("cut off")
    return " · ".join(parts)


def rated_words(rated: events.Rated) -> str:
    """A stored rating in words."""
    again = "now " if rated.replaced else ""
    text = f"feedback {rated.number}: {again}{rated.rating} (weight {rated.weight:g})"
    if rated.taught is None:
        return f"{text}; needs a correction before it is taught: /fix TEXT"
    return f"{text}, teaches: {rated.taught}"


def ask_of(
    event: events.Flagged | events.Confirm | events.Revision | TrainingRecord,
) -> tuple[str, str, str, str | None, bool]:
    """What is asked, the line for yes, what that does, the line for no, and whether it stays
    when something else is said."""
    match event:
        case events.Flagged(found=found):
            text = f"this looks as if it held a secret ({', '.join(found)}): nothing was stored"
            return text, "/keep", "store it all the same", None, False
        case events.Confirm(text=text):
            return text, "/yes", "do it", "/no", False
        case events.Revision():
            text = "is the revised answer right?"
            return text, "/accept", "take it as the right answer", "/reject", False
        case _:
            text = f"training {event.id} was refused: {event.message}"
            return text, f"/override {event.id}", "load it all the same", None, True


def training_words(record: TrainingRecord) -> tuple[Tone, str]:
    """A training's new state, in a line."""
    word, _ = training_state(record.state)
    count = len(record.examples)
    text = f"training {record.id} {word}"
    if record.state in ("queued", "training"):
        return "note", f"{text}: {count} example{'' if count == 1 else 's'}"
    message = f": {record.message}" if record.message else ""
    return _TONES.get(record.state, "note"), f"{text}{message}"


def measure_words(before: Measures, after: Measures, what: Literal["recalled", "kept"]) -> str:
    """Such as `30 % → 100 % of 10`."""
    new: float | None = getattr(after, what)
    old: float | None = getattr(before, what)
    count: int = getattr(after, f"{what}_count")
    if new is None:
        return formats.MISSING
    text = formats.share(new) if old is None else f"{formats.share(old)} → {formats.share(new)}"
    return f"{text} of {count}" if count else text


def buffer_words(buffer: events.BufferStatus) -> str:
    """How far the buffer is from a training."""
    if buffer.threshold:
        return f"{buffer.count} of {buffer.threshold} until training"
    wait = "waits" if buffer.count == 1 else "wait"
    return f"{buffer.count} {wait} for {'training' if buffer.weight_threshold else '/train'}"


def weight_words(buffer: events.BufferStatus) -> str:
    """The summed weight, and the one that starts a training."""
    limit = f" of {buffer.weight_threshold:g}" if buffer.weight_threshold else ""
    return f"weight {buffer.weight:g}{limit}"
