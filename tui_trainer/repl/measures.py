"""An adapter's measures as text."""

from __future__ import annotations

from typing import Literal

from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.text import formats


def measure_text(before: Measures, after: Measures, name: Literal["recalled", "kept"]) -> str:
    """A measure before and after training, and the number of answers that were checked, such as
    `30 % → 100 % of 10`."""
    count: int = getattr(after, f"{name}_count")
    return formats.share_change(getattr(before, name), getattr(after, name), count)


def divergence(measures: Measures) -> str:
    """How far an adapter moves the base's own predictions."""
    if measures.divergence is None:
        return formats.MISSING
    return f"{formats.short_number(measures.divergence)} nats per token"
