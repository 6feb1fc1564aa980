"""Rules on the training loss: divergence, spikes, oscillation."""

from __future__ import annotations

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import COLD_START_HINTS, Condition
from tui_trainer.advisor.schedule_phase import (
    fallback_rate,
    is_cold_start,
    rate_just_raised,
    rate_of_lowest_loss,
)
from tui_trainer.advisor.state import BLOCK_ROWS, NEGLIGIBLE, AdvisorState, scale
from tui_trainer.contracts.advice import AdviceKind, Evidence, JobFacts, Urgency
from tui_trainer.text.formats import count, short_number

# A cumulative sum (Page 1954): what exceeds the reference by more than `SLACK` deviations adds
# up, at most `MOST` per row, so that no single row decides. `ALARM` is reached after four extreme
# rows or about twenty moderate ones.
SLACK, MOST, ALARM = 2.0, 4.0, 16.0
# Where the learning rate was just raised, divergence is more likely, so less evidence is enough.
SLACK_RAISED, ALARM_RAISED = 1.2, 10.0
SPIKE_UNITS = 10.0  # height of a spike, in deviations
# A sudden rise of the loss: rows after and before it, and the distance of their medians in
# deviations.
STEP_AFTER, STEP_BEFORE, STEP_UP = 16, 28, 2.0
COLD_STEPS = 24  # a rise that starts within so many steps comes from a missing warmup
_ROLL_BACK = "roll back to the last good checkpoint and continue with the lower learning rate"


def accumulate(state: AdvisorState) -> None:
    """Adds the newest loss to the cumulative sum."""
    if not state.reference.ready:
        _update_provisional(state)
        if not state.reference.ready:
            return
    excess = (state.losses[-1] - state.reference.level) / scale(state)
    slack = SLACK_RAISED if rate_just_raised(state) else SLACK
    state.cumulative_sum = min(
        max(state.cumulative_sum + max(min(excess - slack, MOST), -3.0), 0.0), 4 * ALARM
    )


def _update_provisional(state: AdvisorState) -> None:
    """Updates the reference for the first rows: the lowest median of three neighbours so far."""
    if state.rows < 3 or state.frozen:
        return
    reference = state.reference
    level = robust_stats.median(state.losses[-3:])
    if not reference.is_provisional or level < reference.level:
        reference.is_provisional = True
        reference.level, reference.step, reference.rate = level, state.step, state.rate
    # The noise is hardly known yet: at least a tenth of the level.
    reference.noise = max(robust_stats.noise(state.losses), 0.1 * abs(reference.level))
    excess = (state.losses[-1] - reference.level) / scale(state)
    state.cumulative_sum = min(
        max(state.cumulative_sum + max(min(excess - SLACK, MOST), -3.0), 0.0), 4 * ALARM
    )


def divergence(state: AdvisorState, facts: JobFacts) -> Condition | None:
    """Divergence: the loss stays above its lowest recent level by more than its noise."""
    is_open = "divergence" in state.open or "warmup_too_short" in state.open
    alarm = ALARM_RAISED if rate_just_raised(state) else ALARM
    stepped = not is_open and _stepped_up(state)
    if stepped:
        state.cumulative_sum = max(state.cumulative_sum, ALARM)
    if state.cumulative_sum < (ALARM / 4 if is_open else alarm):
        return None
    reference, unit = state.reference, scale(state)
    now = robust_stats.median(state.losses[-6:])  # an even number, so that oscillations cancel
    rise = now - reference.level
    if not stepped and rise < (2 if is_open or rate_just_raised(state) else 3) * unit:
        return None
    return _divergence_condition(state, facts, now, unit)


def _divergence_condition(
    state: AdvisorState, facts: JobFacts, now: float, unit: float
) -> Condition:
    """The condition for a loss that is at `now`: `warmup_too_short` right after the start."""
    reference = state.reference
    rise = now - reference.level
    lost = rise / max(state.first - reference.level, 3 * unit)
    urgency: Urgency = "critical" if lost >= 0.5 else "high" if lost >= 0.2 else "medium"
    # Where the loss is small, a small share of what was learned may be a rise by half.
    much = lost >= NEGLIGIBLE / 2 and rise >= 0.5 * reference.level
    if lost < NEGLIGIBLE and not much and not rate_just_raised(state):
        urgency = "low"
    evidence = Evidence(
        metric="loss",
        first_step=reference.step,
        last_step=state.step,
        value=now,
        level=reference.level,
        limit=reference.level + 3 * unit,
        numbers={"noise": unit, "cumulative_sum": state.cumulative_sum, "share_lost": lost},
    )
    factor = 0.1 if lost >= 0.5 else 0.3
    target = rate_of_lowest_loss(state) or fallback_rate(state, facts, factor)
    reason = (
        f"The loss rose from {short_number(reference.level)} at step {count(reference.step)} to "
        f"{short_number(now)}, {short_number(rise / unit)} times its noise, and stays there."
    )
    confidence = min(0.99, 0.5 + 0.5 * min(1.0, state.cumulative_sum / (3 * ALARM)))
    good_step = reference.step
    is_early = reference.step - state.first_step < COLD_STEPS or "warmup_too_short" in state.open
    if is_early and is_cold_start(state, facts):
        good_step = state.first_step - 1  # the first step was already too large
        kind: AdviceKind = "warmup_too_short"
        reason = "The first steps were too large: " + reason[0].lower() + reason[1:]
        also = COLD_START_HINTS
    else:
        kind = "divergence"
        also = (
            _ROLL_BACK,
            "check the data from that step on, if the learning rate was not changed",
        )
    return Condition(kind, urgency, reason, evidence, confidence, factor, target, also, good_step)


def _stepped_up(state: AdvisorState) -> bool:
    """Whether the newest 16 rows lie above the 28 before by more than their scatter and the noise
    of the whole run: nearly all above nearly all, and the medians well apart."""
    if state.rows % 4 or len(state.losses) < STEP_AFTER + STEP_BEFORE:
        return False
    after = sorted(state.losses[-STEP_AFTER:])
    before = state.losses[-STEP_AFTER - STEP_BEFORE : -STEP_AFTER]
    middle, rise = (
        robust_stats.median(before),
        robust_stats.median(after) - robust_stats.median(before),
    )
    spread = max(robust_stats.spread(before), 0.01 * abs(middle), 0.3 * scale(state))
    highest = sorted(before)[-1 - STEP_BEFORE // 10]
    if after[STEP_AFTER // 5] <= highest or rise < STEP_UP * spread:
        return False
    return rise >= 1.3 * _highest_rise(state)


def _highest_rise(state: AdvisorState) -> float:
    """The highest rise of the same width earlier in the run: where the loss varies slowly, there
    have been similar ones."""
    levels = [block.level for block in state.blocks[: -STEP_AFTER // BLOCK_ROWS]]
    before, after = STEP_BEFORE // BLOCK_ROWS, STEP_AFTER // BLOCK_ROWS
    rises = [
        robust_stats.median(levels[at : at + after]) - robust_stats.median(levels[at - before : at])
        for at in range(before, len(levels) - after + 1)
    ]
    return max(rises, default=0.0)


def spike(state: AdvisorState) -> Condition | None:
    """A spike: one row far above the rest. Of low urgency, as most spikes pass. It names a step to
    roll back to but no learning rate, as it is not known yet whether the loss stays high."""
    if state.rows < 3 * BLOCK_ROWS or not state.reference.ready:
        return None
    reference, unit = state.reference, scale(state)
    before = robust_stats.median(state.losses[-9:-1])
    value = state.losses[-1]
    if value - max(before, reference.level) < SPIKE_UNITS * unit:
        return None
    evidence = Evidence(
        metric="loss",
        first_step=state.steps[-9],
        last_step=state.step,
        value=value,
        level=before,
        limit=before + SPIKE_UNITS * unit,
        numbers={"noise": unit},
    )
    return Condition(
        "loss_spike",
        "low",
        f"The loss of step {count(state.step)} is {short_number(value)}, "
        f"{short_number((value - before) / unit)} times its noise above the steps before it.",
        evidence,
        0.6,
        also_try=(
            "nothing, if it remains a single spike",
            "roll back to the last good checkpoint, if the loss stays high",
            "check the training rows of that step",
        ),
        # The loss of a step is that of the weights before its update, so the step before the
        # spike may have caused it.
        good_step=state.steps[-2] - 1,
        keep_open_rows=40,
    )


def oscillation(state: AdvisorState) -> Condition | None:
    """Oscillation: the noise on the loss is several times what it was, and the loss does not
    fall."""
    reference = state.reference
    if reference.earlier_noise is None or state.rows % 4:
        return None
    recent = state.losses[-16:]
    swing = robust_stats.noise(recent)
    usual = max(reference.earlier_noise, 0.01 * abs(reference.level), 1e-9)
    learned = max(state.first - reference.level, 0.0)
    times = swing / usual
    falling = robust_stats.median(recent[-8:]) < reference.level - swing / 2
    is_open = "oscillation" in state.open
    # Without a gradient norm to confirm it, more evidence is needed.
    most = 5.0 if reference.earlier_norm_noise is None else 4.5
    most = 2.5 if rate_just_raised(state) else most
    if times < (2.0 if is_open else most) or swing < 0.02 * learned or falling:
        return None
    middle = robust_stats.median(recent)
    evidence = Evidence(
        metric="loss",
        first_step=state.steps[-16],
        last_step=state.step,
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
        target=rate_of_lowest_loss(state),
        also_try=("a larger batch or more gradient accumulation",),
        keep_open_rows=16,
    )
