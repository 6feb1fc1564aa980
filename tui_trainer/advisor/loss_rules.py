"""Rules on the training loss: divergence, spikes, oscillation."""

from __future__ import annotations

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import COLD_START, Condition
from tui_trainer.advisor.schedule_phase import healthy_rate, is_cold_start, just_raised, safe_rate
from tui_trainer.advisor.state import BLOCK, TRIFLE, AdvisorState, scale
from tui_trainer.contracts.advice import AdviceKind, Evidence, JobFacts, Urgency
from tui_trainer.text.formats import short_number

# A cumulative sum (Page 1954): what exceeds the reference by `SLACK` deviations adds up, a row
# by at most `MOST`, so that no single row decides; `ALARM` is reached after four extreme rows
# or some twenty moderate ones.
SLACK, MOST, ALARM = 2.0, 4.0, 16.0
# Where the rate was just raised, a fault is more likely, so less evidence is enough.
SLACK_RAISED, ALARM_RAISED = 1.2, 10.0
SPIKE = 10.0
# A step up of the loss: rows after and before it, and how far apart their medians must be.
STEP_AFTER, STEP_BEFORE, STEP_UP = 16, 28, 2.0
COLD = 24  # steps in which a start that is too fast goes wrong
_ROLL_BACK = "roll back to the last good checkpoint and continue with the lower learning rate"


def accumulate(memory: AdvisorState) -> None:
    """Adds the newest loss to the cumulative sum."""
    if not memory.reference.ready:
        _provisional(memory)
        if not memory.reference.ready:
            return
    excess = (memory.losses[-1] - memory.reference.level) / scale(memory)
    slack = SLACK_RAISED if just_raised(memory) else SLACK
    memory.risen = min(max(memory.risen + max(min(excess - slack, MOST), -3.0), 0.0), 4 * ALARM)


def _provisional(memory: AdvisorState) -> None:
    """A reference for the first rows: the lowest median of three neighbours so far."""
    if memory.rows < 3 or memory.frozen:
        return
    reference = memory.reference
    level = robust_stats.median(memory.losses[-3:])
    if not reference.begun or level < reference.level:
        reference.begun = True
        reference.level, reference.step, reference.rate = level, memory.step, memory.rate
    # Little is known of the noise yet: a tenth of the level at least.
    reference.noise = max(robust_stats.noise(memory.losses), 0.1 * abs(reference.level))
    excess = (memory.losses[-1] - reference.level) / scale(memory)
    memory.risen = min(max(memory.risen + max(min(excess - SLACK, MOST), -3.0), 0.0), 4 * ALARM)


def divergence(memory: AdvisorState, facts: JobFacts) -> Condition | None:
    """The loss stays above its lowest recent level by more than noise explains."""
    is_open = "divergence" in memory.open or "warmup_too_short" in memory.open
    alarm = ALARM_RAISED if just_raised(memory) else ALARM
    stepped = not is_open and _stepped_up(memory)
    if stepped:
        memory.risen = max(memory.risen, ALARM)
    if memory.risen < (ALARM / 4 if is_open else alarm):
        return None
    reference, unit = memory.reference, scale(memory)
    now = robust_stats.median(memory.losses[-6:])  # even: swings cancel
    rise = now - reference.level
    if not stepped and rise < (2 if is_open or just_raised(memory) else 3) * unit:
        return None
    return _diverging(memory, facts, now, unit)


def _diverging(memory: AdvisorState, facts: JobFacts, now: float, unit: float) -> Condition:
    """The finding for a loss that is at `now`; another kind right after a cold start."""
    reference = memory.reference
    rise = now - reference.level
    lost = rise / max(memory.first - reference.level, 3 * unit)
    urgency: Urgency = "critical" if lost >= 0.5 else "high" if lost >= 0.2 else "medium"
    # Of a small loss a small part of all that was learned may be half as much again.
    much = lost >= TRIFLE / 2 and rise >= 0.5 * reference.level
    if lost < TRIFLE and not much and not just_raised(memory):
        urgency = "low"
    evidence = Evidence(
        metric="loss",
        first_step=reference.step,
        last_step=memory.step,
        value=now,
        level=reference.level,
        limit=reference.level + 3 * unit,
        numbers={"noise": unit, "cumulative_sum": memory.risen, "share_lost": lost},
    )
    factor = 0.1 if lost >= 0.5 else 0.3
    target = healthy_rate(memory) or safe_rate(memory, facts, factor)
    reason = (
        f"The loss rose from {short_number(reference.level)} at step {reference.step} to "
        f"{short_number(now)}, {short_number(rise / unit)} times its noise, and stays there."
    )
    confidence = min(0.99, 0.5 + 0.5 * min(1.0, memory.risen / (3 * ALARM)))
    good_step = reference.step
    began = reference.step - memory.first_step < COLD or "warmup_too_short" in memory.open
    if began and is_cold_start(memory, facts):
        good_step = memory.first_step - 1  # the first step did harm already
        kind: AdviceKind = "warmup_too_short"
        reason = "The first steps were too large: " + reason[0].lower() + reason[1:]
        also = COLD_START
    else:
        kind = "divergence"
        also = (
            _ROLL_BACK,
            "check the data from that step on, if the learning rate was not changed",
        )
    return Condition(kind, urgency, reason, evidence, confidence, factor, target, also, good_step)


def _stepped_up(memory: AdvisorState) -> bool:
    """Whether the newest 16 rows lie above those before them by more than those scatter, or the
    whole run's noise explains: nearly all above nearly all, and the medians well apart."""
    if memory.rows % 4 or len(memory.losses) < STEP_AFTER + STEP_BEFORE:
        return False
    after = sorted(memory.losses[-STEP_AFTER:])
    before = memory.losses[-STEP_AFTER - STEP_BEFORE : -STEP_AFTER]
    middle, rise = (
        robust_stats.median(before),
        robust_stats.median(after) - robust_stats.median(before),
    )
    spread = max(robust_stats.spread(before), 0.01 * abs(middle), 0.3 * scale(memory))
    highest = sorted(before)[-1 - STEP_BEFORE // 10]
    if after[STEP_AFTER // 5] <= highest or rise < STEP_UP * spread:
        return False
    return rise >= 1.3 * _highest_rise(memory)


def _highest_rise(memory: AdvisorState) -> float:
    """The highest rise of the same width earlier in the run: a loss that wanders has had its
    like."""
    levels = [block.level for block in memory.blocks[: -STEP_AFTER // BLOCK]]
    before, after = STEP_BEFORE // BLOCK, STEP_AFTER // BLOCK
    rises = [
        robust_stats.median(levels[at : at + after]) - robust_stats.median(levels[at - before : at])
        for at in range(before, len(levels) - after + 1)
    ]
    return max(rises, default=0.0)


def spike(memory: AdvisorState) -> Condition | None:
    """One row far above the rest; an advice of low urgency, as most pass by themselves. It
    names a step to go back to, but no rate: whether the loss stays there is not known yet."""
    if memory.rows < 3 * BLOCK or not memory.reference.ready:
        return None
    reference, unit = memory.reference, scale(memory)
    before = robust_stats.median(memory.losses[-9:-1])
    value = memory.losses[-1]
    if value - max(before, reference.level) < SPIKE * unit:
        return None
    evidence = Evidence(
        metric="loss",
        first_step=memory.steps[-9],
        last_step=memory.step,
        value=value,
        level=before,
        limit=before + SPIKE * unit,
        numbers={"noise": unit},
    )
    return Condition(
        "loss_spike",
        "low",
        f"The loss of step {memory.step} is {short_number(value)}, "
        f"{short_number((value - before) / unit)} times its noise above the steps before it.",
        evidence,
        0.6,
        also_try=(
            "nothing, if it remains a single spike",
            "roll back to the last good checkpoint, if the loss stays high",
            "check the training rows of that step",
        ),
        # The step before may have done it, with a loss still good: it was that of the weights
        # before it.
        good_step=memory.steps[-2] - 1,
        stays=40,
    )


def oscillation(memory: AdvisorState) -> Condition | None:
    """The detrended loss swings several times as wide as it used to, while it does not fall."""
    reference = memory.reference
    if reference.wobble is None or memory.rows % 4:
        return None
    recent = memory.losses[-16:]
    swing = robust_stats.noise(recent)
    usual = max(reference.wobble, 0.01 * abs(reference.level), 1e-9)
    learned = max(memory.first - reference.level, 0.0)
    times = swing / usual
    falling = robust_stats.median(recent[-8:]) < reference.level - swing / 2
    is_open = "oscillation" in memory.open
    # Without a gradient norm to confirm it, more is asked.
    most = 5.0 if reference.norm_wobble is None else 4.5
    most = 2.5 if just_raised(memory) else most
    if times < (2.0 if is_open else most) or swing < 0.02 * learned or falling:
        return None
    middle = robust_stats.median(recent)
    evidence = Evidence(
        metric="loss",
        first_step=memory.steps[-16],
        last_step=memory.step,
        value=swing,
        level=usual,
        limit=most * usual,
        numbers={"times": times, "low": middle - 2 * usual, "high": middle + 2 * usual},
    )
    return Condition(
        "oscillation",
        "high" if times >= 8 else "medium",
        f"The loss oscillates {short_number(times)} times as widely as before "
        f"({short_number(swing)} against {short_number(usual)}) and does not fall.",
        evidence,
        min(0.95, 0.4 + times / 20),
        factor=0.5,
        target=healthy_rate(memory),
        also_try=("a larger batch or more gradient accumulation",),
        stays=16,
    )
