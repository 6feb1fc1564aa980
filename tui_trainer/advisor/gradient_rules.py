"""Rules on the gradient norm: explosion, vanishing, instability."""

from __future__ import annotations

import math

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import COLD_START_HINTS, Condition
from tui_trainer.advisor.schedule_phase import (
    fallback_rate,
    is_cold_start,
    is_far_above_usual,
    rate_just_raised,
    rate_of_lowest_loss,
)
from tui_trainer.advisor.state import NEGLIGIBLE, AdvisorState, scale
from tui_trainer.contracts.advice import Evidence, JobFacts
from tui_trainer.text.formats import plural, short_number

FIVE = math.log(5.0)
TEN = math.log(10.0)
HUNDREDTH = math.log(100.0)
TWICE_AND_MORE = math.log(2.5)
HALF_AS_MUCH_AGAIN = math.log(1.5)


def explosion(state: AdvisorState, facts: JobFacts) -> Condition | None:
    """Explosion: the norm is ten times its recent median and well above all recent blocks; or
    five times where the loss jumped as well, or three times where it jumped far."""
    reference = state.reference
    if reference.log_norm is None or not state.norms or state.rows < 16:
        return None
    value = state.norms[-1]
    above, beyond = value - reference.log_norm, value - reference.norm_ceiling
    unit = max(reference.norm_noise, 0.1)
    rise = state.losses[-1] - reference.level
    jump = rise / scale(state)
    far = above >= TEN and beyond >= math.log(3.0) and above >= 6 * unit
    least = math.log(3.0 if jump >= 15 else 5.0)
    jumped = above >= least and beyond >= math.log(2.0) and above >= 4 * unit and jump >= 6
    lasts = "gradient_explosion" in state.open and above >= math.log(5.0)
    if not (far or jumped or lasts):
        return None
    # Where nearly everything is learned, one hard example has ten times the usual gradient.
    negligible = 2 * NEGLIGIBLE * max(state.first - reference.level, abs(reference.level))
    lasting = sum(norm - reference.log_norm >= math.log(5.0) for norm in state.norms[-3:]) >= 2
    harmless = above < HUNDREDTH and (rise < negligible or jump < (4 if lasting else 8))
    usual, times = short_number(math.exp(reference.log_norm)), math.exp(above)
    cold = times >= 100 and not harmless and is_cold_start(state, facts)
    return Condition(
        "gradient_explosion",
        "low" if harmless else "critical" if times >= 100 else "high",
        f"The gradient norm is {short_number(math.exp(value))}, {short_number(times)} times its "
        f"usual {usual}.",
        _norm_evidence(
            state, 8, value, reference.log_norm, reference.log_norm + TEN,
            {"times": times, "loss_jump_in_noise": jump},
        ),
        min(0.99, 0.5 + above / 10),
        factor=0.1 if cold else 0.25,
        target=fallback_rate(state, facts, 0.1) if cold else rate_of_lowest_loss(state),
        also_try=("check the training rows of this step", "a lower max_gradient_norm"),
        good_step=state.first_step - 1 if cold else reference.step,
        keep_open_rows=12,
    )  # fmt: skip


def _norm_evidence(
    state: AdvisorState,
    rows: int,
    value: float,
    level: float,
    limit: float,
    numbers: dict[str, float],
) -> Evidence:
    """Evidence on the norm over the newest `rows`; value, level and limit are logarithms."""
    return Evidence(
        metric="gradient_norm",
        first_step=state.steps[-min(rows, len(state.steps))],
        last_step=state.step,
        value=math.exp(value),
        level=math.exp(level),
        limit=math.exp(limit),
        numbers=numbers,
    )


def cold_start(state: AdvisorState, facts: JobFacts) -> Condition | None:
    """Missing warmup: in the first rows the norm rises to several times that of the first steps,
    which led to a region where the loss is far steeper. At a learning rate far above what adapters
    tolerate, a smaller rise is enough."""
    if not 3 <= state.norm_rows <= 16 or not is_cold_start(state, facts):
        return None
    beyond = is_far_above_usual(state, facts)
    begin, least = (1, HALF_AS_MUCH_AGAIN) if beyond else (2, FIVE)
    first = robust_stats.median(state.norms[:begin])
    above = [norm - first for norm in state.norms[begin:]]
    if max(above) < least and not beyond and sum(a >= TWICE_AND_MORE for a in above) >= 3:
        least = TWICE_AND_MORE
    if max(above) < least or state.losses[-1] < 0.5 * state.first:
        return None
    highest = first + max(above)
    numbers = {"times": math.exp(max(above))}
    evidence = _norm_evidence(state, state.rows, highest, first, first + least, numbers)
    return Condition(
        "warmup_too_short",
        "high",
        "The first steps were too large: the gradient norm rose from "
        f"{short_number(math.exp(first))} to {short_number(math.exp(highest))} within "
        f"{plural(state.rows, 'row')}.",
        evidence,
        0.8,
        factor=0.1,
        target=fallback_rate(state, facts, 0.1),
        also_try=COLD_START_HINTS,
        good_step=state.first_step - 1,
        keep_open_rows=40,
    )


def vanishing(state: AdvisorState) -> Condition | None:
    """Vanishing: the norm is a hundredth of what it was, or fell suddenly to about half while the
    loss did not fall. Not where everything is learned."""
    reference = state.reference
    if reference.log_norm is None or len(state.norms) < 5:
        return None
    value = state.norms[-1]
    zero = value <= math.log(1e-9)
    is_open = "gradient_vanishing" in state.open
    deep = reference.norm_ceiling - value >= HUNDREDTH or zero
    # A norm of exactly 0 is never noise, so one row is enough.
    state.tiny_norm_rows = state.tiny_norm_rows + (5 if zero else 1) if deep else 0
    learned = state.losses[-1] < 0.1 * state.first
    sudden = _sudden_fall(state)
    if not ((state.tiny_norm_rows >= 5 and not learned) or sudden or (is_open and deep)):
        return None
    now = robust_stats.median(state.norms[-5:])
    numbers = {"share": math.exp(min(now - reference.log_norm, 0.0))}
    limit = reference.norm_ceiling - HUNDREDTH
    evidence = _norm_evidence(state, 5, now, reference.log_norm, limit, numbers)
    return Condition(
        "gradient_vanishing",
        "high" if deep else "medium",
        f"The gradient norm fell to {short_number(math.exp(now))} from "
        f"{short_number(math.exp(reference.log_norm))}, and the loss did not fall with it.",
        evidence,
        0.9 if deep else 0.7,
        also_try=(
            "check whether part of the model is frozen or outputs zeros",
            "a higher precision, if gradients are too small for this one",
        ),
        good_step=reference.step,
        keep_open_rows=16,
    )


def _sudden_fall(state: AdvisorState) -> bool:
    """Whether the newest 8 norms lie far below the blocks before them, which were level, while the
    loss stayed."""
    if len(state.blocks) < 6 or len(state.norms) < 8 or "divergence" in state.open:
        return False
    before = state.blocks[-5:-1]
    logs = [block.log_norm for block in before if block.log_norm is not None]
    if len(logs) < 4:
        return False
    fall = min(logs) - robust_stats.median(state.norms[-8:])
    unit = max(state.reference.norm_noise, 0.08)
    is_level = max(logs) - min(logs) <= 0.6 * fall
    loss_stays = robust_stats.median(state.losses[-8:]) > 0.85 * before[-1].level
    far = fall >= max(math.log(1.8), 2.5 * unit)
    return is_level and loss_stays and far and robust_stats.kendall(state.losses[-16:]) > -2.0


def instability(state: AdvisorState) -> Condition | None:
    """Instability: the gradient norm varies several times as much as before, or has been higher,
    like the loss, since the learning rate was raised; and the loss does not fall."""
    reference = state.reference
    if reference.earlier_norm_noise is None or state.rows % 4 or len(state.norms) < 16:
        return None
    recent = state.norms[-16:]
    swing = robust_stats.noise(recent)
    usual = max(reference.earlier_norm_noise, 0.12)
    times = swing / usual
    now = robust_stats.median(state.losses[-16:])
    falling = now < reference.level + 0.5 * scale(state)
    falling = falling or robust_stats.kendall([block.level for block in state.blocks[-6:]]) < -1.0
    is_open = "instability" in state.open
    most = 3.5 if rate_just_raised(state) else 4.5
    if falling or (times < (2.0 if is_open else most) and not _both_stay_higher(state)):
        return None
    middle = robust_stats.median(recent)
    low, high = math.exp(middle - 2 * usual), math.exp(middle + 2 * usual)
    evidence = Evidence(
        metric="gradient_norm",
        first_step=state.steps[-16],
        last_step=state.step,
        value=swing,
        level=usual,
        limit=most * usual,
        numbers={"times": times, "low": low, "high": high},
    )
    level = math.exp(robust_stats.median(recent[-8:]) - (reference.log_norm or 0.0))
    reason = f"varies {short_number(times)} times as much as before"
    if times < 2.0:
        reason = (
            f"has stayed at {short_number(level)} times its level since the learning rate "
            "was raised"
        )
    return Condition(
        "instability",
        "medium",
        f"The gradient norm {reason}, and the loss does not fall.",
        evidence,
        min(0.9, 0.4 + times / 15),
        factor=0.7,
        target=rate_of_lowest_loss(state),
        also_try=("a lower max_gradient_norm", "a larger batch"),
        keep_open_rows=16,
    )


def _both_stay_higher(state: AdvisorState) -> bool:
    """Whether norm and loss have both been higher since the learning rate was raised: the newest
    eight norms by a third, the newest eight losses by most of their noise."""
    reference = state.reference
    if not rate_just_raised(state) or reference.log_norm is None:
        return False
    norm, loss = robust_stats.median(state.norms[-8:]), robust_stats.median(state.losses[-8:])
    higher = norm - reference.log_norm >= max(math.log(1.35), reference.norm_noise)
    return higher and loss - reference.level >= 0.8 * scale(state)
