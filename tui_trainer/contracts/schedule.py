"""The learning rate of every step, as one pure function for engine, form and advisor."""

from __future__ import annotations

import math

import msgspec

from tui_trainer.contracts.job import TrainingSettings

# A rate of more than so many times the present one is hardly ever meant.
MOST_TIMES = 10.0


class Scaling(msgspec.Struct, frozen=True):
    """A multiplier of the whole schedule: `before` until `step` steps are finished, then it goes
    to `after` within `steps` steps, evenly in the logarithm."""

    step: int  # from which it changes
    steps: int  # that the change takes
    before: float  # multiplier
    after: float  # multiplier

    def at(self, step: int) -> float:
        """The multiplier of the step that follows `step` finished ones."""
        share = min(1.0, max(0.0, (step - self.step + 1) / max(1, self.steps)))
        return self.after if share == 1.0 else self.before ** (1 - share) * self.after**share


class RateChange(msgspec.Struct, frozen=True):
    """How the rate departs from the schedule: `override` is (step, rate) as a person set it,
    `scaling` multiplies what comes of it."""

    override: tuple[int, float] | None = None  # (step, rate)
    scaling: Scaling | None = None  # of the whole schedule


def learning_rate_at(
    step: int,
    settings: TrainingSettings,
    total_steps: int,
    override: tuple[int, float] | None = None,
    scaling: Scaling | None = None,
) -> float:
    """The rate of the optimizer step that follows `step` finished ones (0-based).

    Warmup rises linearly and reaches the peak with its last step. After it, with W warmup steps
    of T in all and p = (step - W) / (T - W), the share of the peak is

    - constant: 1; linear: 1 - p; polynomial: (1 - p) ** power;
    - cosine: (1 + cos(pi p)) / 2; cosine-restarts with n cycles: the same of n p modulo 1;
    - wsd: 1 until the last `decay_share` of the steps after warmup, in which it falls linearly;
    - inverse-sqrt: sqrt(max(W, 1) / (step - W + max(W, 1))).

    No step has rate 0, so none is wasted at either end.

    `override` is (step, rate): a rate that the user set. It holds from that step on and keeps
    the schedule's shape: it falls from there in the proportion in which the schedule falls;
    what is left of the warmup is skipped. `scaling` multiplies all of it.
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
    """The share of the peak (0..1) after warmup; 1 during it."""
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


def rise_text(rate: float, present: float | None, measure: str = "the present rate") -> str | None:
    """What is said before a learning rate is set that is more than `MOST_TIMES` the present one;
    None where it is not, or where there is none to compare it with."""
    if present is None or not present > 0 or rate <= MOST_TIMES * present * (1 + 1e-9):
        return None
    times = float(f"{rate / present:.3g}")
    return f"{rate:.3g} is {times:,.10g} times {measure}, {present:.3g}"
