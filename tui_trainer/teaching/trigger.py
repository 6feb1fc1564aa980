"""Decides when the pending examples start a training."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from tui_trainer.contracts.teaching.feedback import RatedExample
from tui_trainer.contracts.teaching.training import BufferState, TeachingSettings


def buffer_state(
    waiting: Collection[RatedExample], examples: Iterable[RatedExample], settings: TeachingSettings
) -> BufferState:
    """The state of the buffer of `waiting` examples, out of all `examples`."""
    return BufferState(
        count=len(waiting),
        threshold=settings.auto_train_threshold,
        weight=sum(example.weight for example in waiting),
        weight_threshold=settings.auto_train_weight,
        needs_correction=sum(example.needs_correction for example in examples),
    )


def fires(buffer: BufferState) -> bool:
    """Whether a threshold is reached."""
    by_count = 0 < buffer.threshold <= buffer.count
    by_weight = 0 < buffer.weight_threshold <= buffer.weight
    return buffer.count > 0 and (by_count or by_weight)


def due(buffer: BufferState, waiting: Iterable[RatedExample], tried: Collection[str]) -> bool:
    """Whether a training starts by itself.

    Examples whose training ended without an active adapter (`tried`) do not start another one
    alone: at least one new example is needed.
    """
    return fires(buffer) and any(example.id not in tried for example in waiting)
