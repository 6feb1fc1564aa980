"""Rules on the gradient norm: explosion, vanishing, instability."""

from __future__ import annotations

import math

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import COLD_START, Condition
from tui_trainer.advisor.schedule_phase import (
    healthy_rate,
    is_beyond_adapters,
    is_cold_start,
    just_raised,
    safe_rate,
)
from tui_trainer.advisor.state import TRIFLE, AdvisorState, scale
from tui_trainer.contracts.advice import Evidence, JobFacts
from tui_trainer.text.formats import short_number

FIVE = math.log(5.0)
TEN = math.log(10.0)
HUNDREDTH = math.log(100.0)
TWICE_AND_MORE = math.log(2.5)
HALF_AS_MUCH_AGAIN = math.log(1.5)


def explosion(memory: AdvisorState, facts: JobFacts) -> Condition | None:
    """The norm is ten times its recent median and well above all recent blocks; or five times,
    where the loss jumped too, or three times, where it jumped far."""
    reference = memory.reference
    if reference.log_norm is None or not memory.norms or memory.rows < 16:
        return None
    value = memory.norms[-1]
    above, beyond = value - reference.log_norm, value - reference.norm_ceiling
    unit = max(reference.norm_noise, 0.1)
    rise = memory.losses[-1] - reference.level
    jump = rise / scale(memory)
    far = above >= TEN and beyond >= math.log(3.0) and above >= 6 * unit
    least = math.log(3.0 if jump >= 15 else 5.0)
    jumped = above >= least and beyond >= math.log(2.0) and above >= 4 * unit and jump >= 6
    lasts = "gradient_explosion" in memory.open and above >= math.log(5.0)
    if not (far or jumped or lasts):
        return None
    # Where nearly everything is learned, one hard example is ten times the usual gradient.
    trifle = 2 * TRIFLE * max(memory.first - reference.level, abs(reference.level))
    lasting = sum(norm - reference.log_norm >= math.log(5.0) for norm in memory.norms[-3:]) >= 2
    harmless = above < HUNDREDTH and (rise < trifle or jump < (4 if lasting else 8))
    usual, times = short_number(math.exp(reference.log_norm)), math.exp(above)
    cold = times >= 100 and not harmless and is_cold_start(memory, facts)
    return Condition(
        "gradient_explosion",
        "low" if harmless else "critical" if times >= 100 else "high",
        f"The gradient norm is {short_number(math.exp(value))}, {short_number(times)} times its "
        f"usual {usual}.",
        _evidence(
            memory, 8, value, reference.log_norm, reference.log_norm + TEN,
            {"times": times, "loss_jump_in_noise": jump},
        ),
        min(0.99, 0.5 + above / 10),
        factor=0.1 if cold else 0.25,
        target=safe_rate(memory, facts, 0.1) if cold else healthy_rate(memory),
        also_try=("check the training rows of this step", "a lower max_gradient_norm"),
        good_step=memory.first_step - 1 if cold else reference.step,
        stays=12,
    )  # fmt: skip


def _evidence(
    memory: AdvisorState,
    rows: int,
    value: float,
    level: float,
    limit: float,
    numbers: dict[str, float],
) -> Evidence:
    """Evidence on the norm over the newest `rows`; value, level and limit are logarithms."""
    return Evidence(
        metric="gradient_norm",
        first_step=memory.steps[-min(rows, len(memory.steps))],
        last_step=memory.step,
        value=math.exp(value),
        level=math.exp(level),
        limit=math.exp(limit),
        numbers=numbers,
    )


def cold_start(memory: AdvisorState, facts: JobFacts) -> Condition | None:
    """In the first rows of a run without a proper warmup, the norm is several times the first
    steps' one: where those steps led, the loss is far steeper than where they began. At a rate
    that no adapter is known to bear, any rise is enough."""
    if not 3 <= memory.norm_rows <= 16 or not is_cold_start(memory, facts):
        return None
    beyond = is_beyond_adapters(memory, facts)
    begin, least = (1, HALF_AS_MUCH_AGAIN) if beyond else (2, FIVE)
    first = robust_stats.median(memory.norms[:begin])
    above = [norm - first for norm in memory.norms[begin:]]
    if max(above) < least and not beyond and sum(a >= TWICE_AND_MORE for a in above) >= 3:
        least = TWICE_AND_MORE
    if max(above) < least or memory.losses[-1] < 0.5 * memory.first:
        return None
    highest = first + max(above)
    numbers = {"times": math.exp(max(above))}
    evidence = _evidence(memory, memory.rows, highest, first, first + least, numbers)
    return Condition(
        "warmup_too_short",
        "high",
        "The first steps were too large: the gradient norm rose from "
        f"{short_number(math.exp(first))} to {short_number(math.exp(highest))} within "
        f"{memory.rows} rows.",
        evidence,
        0.8,
        factor=0.1,
        target=safe_rate(memory, facts, 0.1),
        also_try=COLD_START,
        good_step=memory.first_step - 1,
        stays=40,
    )


def vanishing(memory: AdvisorState) -> Condition | None:
    """The norm is a hundredth of what it was, or fell at once to less than half while the loss
    did not; not where everything is learned."""
    reference = memory.reference
    if reference.log_norm is None or len(memory.norms) < 5:
        return None
    value = memory.norms[-1]
    zero = value <= math.log(1e-9)
    is_open = "gradient_vanishing" in memory.open
    deep = reference.norm_ceiling - value >= HUNDREDTH or zero
    memory.tiny = memory.tiny + (5 if zero else 1) if deep else 0  # exactly none is never noise
    learned = memory.losses[-1] < 0.1 * memory.first
    sudden = _sudden_fall(memory)
    if not ((memory.tiny >= 5 and not learned) or sudden or (is_open and deep)):
        return None
    now = robust_stats.median(memory.norms[-5:])
    numbers = {"share": math.exp(min(now - reference.log_norm, 0.0))}
    limit = reference.norm_ceiling - HUNDREDTH
    evidence = _evidence(memory, 5, now, reference.log_norm, limit, numbers)
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
        stays=16,
    )


def _sudden_fall(memory: AdvisorState) -> bool:
    """Whether the norm's newest 8 rows lie far below the blocks before them, which were level,
    while the loss stayed."""
    if len(memory.blocks) < 6 or len(memory.norms) < 8 or "divergence" in memory.open:
        return False
    before = memory.blocks[-5:-1]
    logs = [block.log_norm for block in before if block.log_norm is not None]
    if len(logs) < 4:
        return False
    fall = min(logs) - robust_stats.median(memory.norms[-8:])
    unit = max(memory.reference.norm_noise, 0.08)
    is_level = max(logs) - min(logs) <= 0.6 * fall
    stays = robust_stats.median(memory.losses[-8:]) > 0.85 * before[-1].level
    far = fall >= max(math.log(1.8), 2.5 * unit)
    return is_level and stays and far and robust_stats.kendall(memory.losses[-16:]) > -2.0


def instability(memory: AdvisorState) -> Condition | None:
    """The gradient norm scatters several times as wide as before, or is higher and the loss too
    since the rate was raised, while the loss does not fall."""
    reference = memory.reference
    if reference.norm_wobble is None or memory.rows % 4 or len(memory.norms) < 16:
        return None
    recent = memory.norms[-16:]
    swing = robust_stats.noise(recent)
    usual = max(reference.norm_wobble, 0.12)
    times = swing / usual
    now = robust_stats.median(memory.losses[-16:])
    falling = now < reference.level + 0.5 * scale(memory)
    falling = falling or robust_stats.kendall([block.level for block in memory.blocks[-6:]]) < -1.0
    is_open = "instability" in memory.open
    most = 3.5 if just_raised(memory) else 4.5
    if falling or (times < (2.0 if is_open else most) and not _kept_up(memory)):
        return None
    middle = robust_stats.median(recent)
    low, high = math.exp(middle - 2 * usual), math.exp(middle + 2 * usual)
    evidence = Evidence(
        metric="gradient_norm",
        first_step=memory.steps[-16],
        last_step=memory.step,
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
        target=healthy_rate(memory),
        also_try=("a lower max_gradient_norm", "a larger batch"),
        stays=16,
    )


def _kept_up(memory: AdvisorState) -> bool:
    """Whether norm and loss are both higher since the rate was raised: the newest eight norms by
    a third, the newest eight losses by most of their noise."""
    reference = memory.reference
    if not just_raised(memory) or reference.log_norm is None:
        return False
    norm, loss = robust_stats.median(memory.norms[-8:]), robust_stats.median(memory.losses[-8:])
    higher = norm - reference.log_norm >= max(math.log(1.35), reference.norm_noise)
    return higher and loss - reference.level >= 0.8 * scale(memory)
