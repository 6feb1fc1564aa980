"""Learning-rate finder: the range test of Smith 2015 (arXiv:1506.01186, section 3.3).

The learning rate rises exponentially from step to step, on an adapter that is discarded. The loss
falls fastest at rates that train well, and diverges a little above them. The proposed rate is the
smaller of the rate at the steepest descent and a tenth of the rate at the lowest loss.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

from tui_trainer.contracts.estimate import RatePoint, RateSweep
from tui_trainer.contracts.job import Job
from tui_trainer.engine import loop
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.preflight.scratch_session import scratch_session
from tui_trainer.models.completeness import notices
from tui_trainer.text import formats

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
WIDTH = 4.0  # standard deviation of the smoothing kernel, in steps
DIVERGED = 1.5  # times the first loss, at which the sweep ends
LEAST_FALL = 0.03  # share of the first loss that it must fall by for a rate to be proposed
_EDGE = 5  # steps at the start of the curve in which no minimum is accepted


def find_rate(job: Job) -> RateSweep:
    """Sweep the rate over at most `STEPS` steps of the job's batches. Raises `UserError`."""
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    losses: list[float] = []
    with scratch_session(job) as session:
        about_base = notices(session.model.get_base_model())
        for step, rate in enumerate(rates):
            session.state.step = step
            set_learning_rate(session.optimizer, rate)
            outcome = loop.step(session)
            losses.append(outcome.loss)
            if has_diverged(losses):
                break
    return msgspec.structs.replace(judge(rates[: len(losses)], losses), notices=about_base)


def has_diverged(losses: Sequence[float]) -> bool:
    """Return whether the last loss is not finite, or the last three are far above the first."""
    if not math.isfinite(losses[-1]):
        return True
    first = float(np.median(losses[:5]))
    return len(losses) > 10 and float(np.mean(losses[-3:])) > DIVERGED * first


def judge(rates: Sequence[float], losses: Sequence[float]) -> RateSweep:
    """Return the curve and the rate that it suggests, or the reason why it suggests none."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    smooth = _smooth(finite)
    points = [
        RatePoint(learning_rate=rate, loss=loss, smoothed=value)
        for rate, loss, value in zip(rates, finite, smooth, strict=False)
    ]
    ended_early = len(finite) < len(losses) or (len(losses) > 1 and has_diverged(losses))
    diverged = rates[len(losses) - 1] if ended_early else None
    if len(smooth) < 3 * _EDGE:
        reason = (
            "the loss diverges at once, so no rate can be proposed: check the data and the base"
        )
        return _sweep(points, None, None, None, diverged, reason)
    lowest = int(np.argmin(smooth))
    level = float(np.median(finite[: max(_EDGE, len(finite) // 5)]))
    fall = level - smooth[lowest]
    if lowest <= _EDGE or fall < LEAST_FALL * abs(level):
        reason = "the loss falls at no learning rate: check the data, or use a longer warmup"
        return _sweep(points, None, float(rates[lowest]), None, diverged, reason)
    # Until the loss leaves its first level for good, its slopes are noise of the batches.
    start = max(i for i in range(lowest) if i == 0 or smooth[i] >= level - 0.1 * fall)
    slopes = np.gradient(smooth, np.log10(rates[: len(smooth)]))
    steepest = start + int(np.argmin(slopes[start : lowest + 1]))
    proposed = min(rates[steepest], rates[lowest] / 10)
    reason = (
        f"the loss falls most steeply at {formats.rate(rates[steepest])} and is lowest at "
        f"{formats.rate(rates[lowest])}; proposed is the smaller of the first and a tenth "
        "of the second"
    )
    return _sweep(points, rates[steepest], rates[lowest], proposed, diverged, reason)


def _sweep(
    points: list[RatePoint],
    steepest: float | None,
    lowest: float | None,
    proposed: float | None,
    diverged: float | None,
    reason: str,
) -> RateSweep:
    return RateSweep(
        points=points,
        steepest=steepest,
        lowest=lowest,
        proposed=None if proposed is None else float(f"{proposed:.2g}"),
        diverged=diverged,
        reason=reason,
    )


def _smooth(losses: Sequence[float]) -> list[float]:
    """Return the means with Gaussian weights around each step."""
    steps = np.arange(len(losses), dtype=np.float64)
    weights = np.exp(-0.5 * ((steps[:, None] - steps) / WIDTH) ** 2)
    smoothed: list[float] = (weights @ np.asarray(losses) / weights.sum(axis=1)).tolist()
    return smoothed
