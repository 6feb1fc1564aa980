"""Learning-rate schedules: the rate of every step, without I/O."""

from __future__ import annotations

import math

import msgspec

from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.text import formats

# A rate of more than this many times the current one is probably a mistake.
MAX_RISE = 10.0


class Scaling(msgspec.Struct, frozen=True):
    """A multiplier of the whole schedule that changes linearly in its logarithm."""

    step: int  # finished steps when the change starts
    steps: int  # that the change takes
    before: float  # multiplier before the change
    after: float  # multiplier after the change

    def at(self, step: int) -> float:
        """The multiplier of the step after `step` finished ones."""
        share = min(1.0, max(0.0, (step - self.step + 1) / max(1, self.steps)))
        return self.after if share == 1.0 else self.before ** (1 - share) * self.after**share


class RateChange(msgspec.Struct, frozen=True):
    """How the learning rate differs from the job's schedule."""

    override: tuple[int, float] | None = None  # (step, rate) that the user set
    scaling: Scaling | None = None  # multiplies the schedule, override included


def learning_rate_at(
    step: int,
    settings: TrainingSettings,
    total_steps: int,
    override: tuple[int, float] | None = None,
    scaling: Scaling | None = None,
) -> float:
    """The learning rate of the optimizer step after `step` finished ones.

    Warmup rises linearly and reaches the peak with its last step. After it, with W warmup steps
    of T in total and p = (step - W) / (T - W), the rate is the peak times

    - constant: 1; linear: 1 - p; polynomial: (1 - p) ** power;
    - cosine: (1 + cos(pi p)) / 2; cosine-restarts with n cycles: the same of n p modulo 1;
    - wsd: 1 until the last `decay_share` of the steps after warmup, in which it falls linearly;
    - inverse-sqrt: sqrt(max(W, 1) / (step - W + max(W, 1))).

    The rate is never 0, so that no step is without effect.

    `override` is (step, rate), a rate that the user set: from that step on it replaces the
    schedule's and then falls in proportion to it; the remaining warmup is skipped. `scaling`
    multiplies the result.
    """
    if scaling is not None:
        return scaling.at(step) * learning_rate_at(step, settings, total_steps, override)
    if override is not None and step >= override[0]:
        at_step, rate = override
        reference = _decay(at_step, settings, total_steps)
        return rate * _decay(step, settings, total_steps) / reference if reference > 0 else rate
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    return settings.learning_rate * _decay(step, settings, total_steps)


def _decay(step: int, settings: TrainingSettings, total_steps: int) -> float:
    """The share (0..1) of the peak after warmup; 1 during warmup."""
    after, name = step - settings.warmup_steps, settings.scheduler
    if after <= 0 or name == "constant":
        return 1.0
    if name == "inverse-sqrt":
        scale = max(settings.warmup_steps, 1)
        return math.sqrt(scale / (after + scale))
    progress = min(1.0, after / max(1, total_steps - settings.warmup_steps))
    if name == "linear":
        return 1.0 - progress
    if name == "polynomial":
        return float((1.0 - progress) ** settings.scheduler_power)
    if name == "wsd":
        return min(1.0, (1.0 - progress) / settings.decay_share)
    if name == "cosine-restarts" and progress < 1.0:
        progress = math.fmod(progress * settings.scheduler_cycles, 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * progress))


def rise_text(rate: float, current: float | None, measure: str = "the current rate") -> str | None:
    """A warning if `rate` is more than `MAX_RISE` times the `current` rate, else None.

    `measure` names the current rate. None also if the current rate is unknown or 0.
    """
    if current is None or not current > 0 or rate <= MAX_RISE * current * (1 + 1e-9):
        return None
    times = formats.short_number(rate / current)
    return f"{formats.rate(rate)} is {times} times {measure}, {formats.rate(current)}"
