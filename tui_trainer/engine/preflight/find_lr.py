"""Finding a learning rate: the range test of Smith 2015 (arXiv:1506.01186, section 3.3).

The rate rises exponentially from step to step on a scratch adapter. Where the loss falls fastest
the rate is at work; a little above it blows up. The rate proposed is the smaller of the one at the
steepest descent and a tenth of the one at the least loss.
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

STEPS = 100
LOWEST, HIGHEST = 1e-6, 1.0
WIDTH = 4.0  # steps: the smoothing curve's standard deviation
BLOWN_UP = 1.5  # times the first loss: the sweep ends
LEAST_FALL = 0.03  # of the first loss, for a rate to be proposed
_EDGE = 5


def find_rate(job: Job) -> RateSweep:
    """Sweeps the rate over at most `STEPS` steps of the job's own batches. Raises `UserError`."""
    rates = np.geomspace(LOWEST, HIGHEST, STEPS).tolist()
    losses: list[float] = []
    with scratch_session(job) as session:
        about_base = notices(session.model.get_base_model())
        for step, rate in enumerate(rates):
            session.state.step = step
            set_learning_rate(session.optimizer, rate)
            outcome = loop.step(session)
            losses.append(outcome.loss)
            if blown_up(losses):
                break
    return msgspec.structs.replace(judge(rates[: len(losses)], losses), notices=about_base)


def blown_up(losses: Sequence[float]) -> bool:
    """Whether the newest loss is not finite, or the last three lie far above the first."""
    if not math.isfinite(losses[-1]):
        return True
    first = float(np.median(losses[:5]))
    return len(losses) > 10 and float(np.mean(losses[-3:])) > BLOWN_UP * first


def judge(rates: Sequence[float], losses: Sequence[float]) -> RateSweep:
    """The curve and what it says."""
    finite = [loss for loss in losses if math.isfinite(loss)]
    smooth = _smooth(finite)
    points = [
        RatePoint(learning_rate=rate, loss=loss, smoothed=value)
        for rate, loss, value in zip(rates, finite, smooth, strict=False)
    ]
    ended_early = len(finite) < len(losses) or (len(losses) > 1 and blown_up(losses))
    diverged = rates[len(losses) - 1] if ended_early else None
    if len(smooth) < 3 * _EDGE:
        reason = "the loss blew up at once: the sweep is too short to judge"
        return _sweep(points, None, None, None, diverged, reason)
    lowest = int(np.argmin(smooth))
    level = float(np.median(finite[: max(_EDGE, len(finite) // 5)]))
    fall = level - smooth[lowest]
    if lowest <= _EDGE or fall < LEAST_FALL * abs(level):
        reason = "the loss falls at no rate: look at the data, or take a longer warmup"
        return _sweep(points, None, float(rates[lowest]), None, diverged, reason)
    # Before the loss has left its first level for good, its slopes are the batches' noise.
    begin = max(i for i in range(lowest) if i == 0 or smooth[i] >= level - 0.1 * fall)
    slopes = np.gradient(smooth, np.log10(rates[: len(smooth)]))
    steepest = begin + int(np.argmin(slopes[begin : lowest + 1]))
    proposed = min(rates[steepest], rates[lowest] / 10)
    reason = (
        f"steepest descent at {rates[steepest]:.2g}, least loss at {rates[lowest]:.2g}; "
        "the smaller of the first and a tenth of the second"
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
    """A mean weighted by a bell curve around each step, which shifts nothing."""
    places = np.arange(len(losses), dtype=np.float64)
    weights = np.exp(-0.5 * ((places[:, None] - places) / WIDTH) ** 2)
    smoothed: list[float] = (weights @ np.asarray(losses) / weights.sum(axis=1)).tolist()
    return smoothed
