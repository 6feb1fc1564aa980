"""Decides when the pending examples start a training."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from tui_trainer.contracts.feedback import RatedExample
from tui_trainer.contracts.teaching import TeachingSettings


@dataclass(frozen=True)
class BufferState:
    """How far the pending examples are from starting a training.

    `count` examples with the summed `weight` are pending; a threshold of 0 is off.
    `needs_correction` counts rated answers without a right answer, which are not taught.
    """

    count: int
    threshold: int
    weight: float
    weight_threshold: float
    needs_correction: int

    @property
    def fires(self) -> bool:
        """Whether a threshold is reached."""
        by_count = 0 < self.threshold <= self.count
        by_weight = 0 < self.weight_threshold <= self.weight
        return self.count > 0 and (by_count or by_weight)


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


def due(buffer: BufferState, waiting: Iterable[RatedExample], tried: Collection[str]) -> bool:
    """Whether a training starts by itself.

    Examples whose training ended without an active adapter (`tried`) do not start another one
    alone: at least one new example is needed.
    """
    return buffer.fires and any(example.id not in tried for example in waiting)
