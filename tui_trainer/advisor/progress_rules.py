"""Rules on progress: plateaus of the training loss, and overfitting."""

from __future__ import annotations

from collections.abc import Sequence

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import Condition
from tui_trainer.advisor.schedule_phase import is_warming_up, rate_fell
from tui_trainer.advisor.state import AdvisorState, EvaluationPoint, scale
from tui_trainer.contracts.advice import Evidence, JobFacts, Urgency
from tui_trainer.text.formats import count, short_number

# Adam moves a weight by about the learning rate per step, so an adapter, which starts at zero,
# learns nothing in hundreds of steps below the first rate; the second is usual for adapters.
TINY_RATE, USUAL_RATE = 3e-6, 2e-4
SLOW_ROWS = 200  # rows before a run at a sensible rate that learns nothing is reported
RECENT_EVALUATIONS = 5  # evaluations in which training and validation loss are compared
WINDOW = 40  # rows within which a fall of the loss must show


def plateau(state: AdvisorState, facts: JobFacts) -> Condition | None:
    """Plateau: the loss stays level at a learning rate that the schedule has not lowered.

    The urgency is low unless nothing was learned at a rate too low for adapters, or the rate fell
    abruptly to a fraction and the loss has stayed level since. At a rate that has decayed a level
    loss is expected.
    """
    if state.rows % 4 or state.rows < WINDOW or "divergence" in state.open:
        return None
    if is_warming_up(state, facts):
        return None
    fallen = rate_fell(state)
    rows_here = state.rows - (state.fell_at or 0) if fallen else state.rows - state.peak_row
    if fallen:
        if rows_here < 24 or not _is_level(state.losses[-rows_here:][-WINDOW:]):
            return None
        # Rolling back to the step before the fall, where it is still known, loses nothing.
        before = state.steps[-rows_here - 2 :][0] if rows_here + 2 <= len(state.steps) else None
        return _plateau_condition(state, "high", 0.8, state.former_rate, good_step=before)
    if state.peak_rate and (state.rate or 0.0) < 0.5 * state.peak_rate:
        return None
    if rows_here >= WINDOW - 8 and _learned_nothing(state):
        if facts.adapter and 0 < state.peak_rate < TINY_RATE:
            usual = facts.usual_rate or USUAL_RATE
            start = state.first_step - 1
            return _plateau_condition(state, "high", 0.85, usual, learned=False, good_step=start)
        # Fine-tuning a large model may progress slowly for a long time.
        if rows_here >= SLOW_ROWS and state.rows % 16 == 0 and _is_flat(state):
            return _plateau_condition(state, "low", 0.5, None, learned=False)
    return _is_flat_at_end(state, facts)


def _is_level(losses: list[float]) -> bool:
    """Whether no fall shows: neither a significant trend nor a fall by more than 0.5 %."""
    means = [sum(losses[i : i + 4]) / 4 for i in range(0, len(losses) - 3, 4)]
    fall = -robust_stats.slope(means) * len(means)
    return robust_stats.kendall(means) > -2.0 or fall < 0.005 * abs(robust_stats.median(means))


def _is_flat(state: AdvisorState) -> bool:
    """Whether even the steepest fall within two standard errors is under 2 % over the blocks: an
    equivalence test, so that more noise requires more rows."""
    levels = [block.level for block in state.blocks]
    fall = -robust_stats.slope(levels) * len(levels)
    error: float = robust_stats.noise(levels) * (12 / len(levels)) ** 0.5
    return fall + 2 * error < 0.02 * abs(state.first)


def _learned_nothing(state: AdvisorState) -> bool:
    """Whether the loss is still what it was at the start."""
    recent = state.losses[-WINDOW:]
    noise = robust_stats.noise(recent)
    now = robust_stats.median(recent[-16:])
    return state.first - now < max(0.02 * abs(state.first), noise) and _is_level(recent)


def _is_flat_at_end(state: AdvisorState, facts: JobFacts) -> Condition | None:
    """Plateau over the last third of the whole run. Of low urgency: many good runs end so."""
    window = max(8, len(state.curve) // 3)
    if len(state.curve) < 12 or state.rows % 16:
        return None
    levels = state.curve[-window:]
    middle = robust_stats.median(levels)
    steps_remaining = None if facts.total_steps is None else facts.total_steps - state.step
    fall = -robust_stats.slope(levels) * len(levels)
    if robust_stats.kendall(levels) < -1.0 or fall > 0.003 * abs(middle):
        return None
    if middle < 0.05 * state.first or (
        steps_remaining is not None and steps_remaining < 0.1 * state.step
    ):
        return None
    return _plateau_condition(state, "low", 0.4, None)


def _plateau_condition(
    state: AdvisorState,
    urgency: Urgency,
    confidence: float,
    target: float | None,
    *,
    learned: bool = True,
    good_step: int | None = None,
) -> Condition:
    recent = state.losses[-WINDOW:]
    now = robust_stats.median(recent)
    if target is not None and state.former_rate == target:
        fall = (
            f"The learning rate fell to {short_number((state.rate or 0) / target)} of what it was"
        )
        reason = f"{fall}, and the loss no longer falls from {short_number(now)}."
    elif learned:
        reason = f"The loss stayed at {short_number(now)} over the last third of the run."
    else:
        reason = (
            f"The model does not learn: the loss started at {short_number(state.first)} and is "
            f"{short_number(now)}."
        )
    third = state.step - (state.step - state.first_step) // 3
    first = third if learned else state.steps[-len(recent)]
    evidence = Evidence(
        metric="loss",
        first_step=first,
        last_step=state.step,
        value=now,
        level=state.first,
        limit=now - scale(state),
        numbers={
            "noise": robust_stats.noise(recent),
            "slope_per_row": robust_stats.slope(recent[::4]) / 4,
        },
    )
    factor = 1.5 if learned else 10.0
    also = ("check whether the data can be learned at all", "a higher rank")
    return Condition(
        "plateau",
        urgency,
        reason,
        evidence,
        confidence,
        factor,
        target,
        also,
        good_step,
        keep_open_rows=160 if urgency == "low" else 24,
    )


def overfitting(state: AdvisorState) -> Condition | None:
    """Overfitting: the validation loss rises or stays level while the training loss falls."""
    points = state.evaluations
    if len(points) < 4:
        return None
    if _validation_stopped(points):
        return _overfitting_condition(
            points[-RECENT_EVALUATIONS], points[-1], points[-RECENT_EVALUATIONS].val_loss, None
        )
    best = min(range(len(points)), key=lambda i: points[i].val_loss)
    if len(points) - 1 - best < 2:
        return None
    low = points[best]
    unit = max(
        robust_stats.curve_noise([p.val_loss for p in points[-12:]]), 0.005 * abs(low.val_loss)
    )
    # The median of the five evaluations around the best, as one or two may be low by chance.
    level = robust_stats.median([p.val_loss for p in points[max(best - 2, 0) : best + 3]])
    learned = max(points[0].val_loss - level, 0.0)
    limit = level + max(4 * unit, 0.02 * abs(level), 0.01 * learned)
    newest = points[-1]
    is_open = "overfitting" in state.open
    fallen = low.train_level - newest.train_level
    if fallen < max(3 * low.train_noise, 0.1 * low.train_level):
        return None
    # Small validation sets give noisy losses, so the newest three count together.
    recent = robust_stats.median([p.val_loss for p in points[-3:]])
    if newest.val_loss < limit or (not is_open and recent < level + 3 * unit):
        return None
    return _overfitting_condition(low, newest, level, limit)


def _validation_stopped(points: Sequence[EvaluationPoint]) -> bool:
    """Whether the training loss fell by a third within a few evaluations, and the validation loss
    hardly did."""
    if len(points) < RECENT_EVALUATIONS:
        return False
    then, now = points[-RECENT_EVALUATIONS], points[-1]
    fallen = then.train_level - now.train_level
    still_falls = fallen >= max(6 * then.train_noise, then.train_level / 3)
    recent = robust_stats.median([p.val_loss for p in points[-2:]])
    return still_falls and recent >= 0.98 * then.val_loss


def _overfitting_condition(
    low: EvaluationPoint, newest: EvaluationPoint, level: float, limit: float | None
) -> Condition:
    rise = newest.val_loss / level - 1 if level > 0 else 0.0
    moved = "rose" if limit is not None else "barely changed"
    evidence = Evidence(
        metric="val_loss",
        first_step=low.step,
        last_step=newest.step,
        value=newest.val_loss,
        level=low.val_loss,
        limit=limit,
        numbers={"train_then": low.train_level, "train_now": newest.train_level},
    )
    return Condition(
        "overfitting",
        "high" if rise > 0.2 else "medium",
        f"The validation loss {moved} from {short_number(low.val_loss)} at step "
        f"{count(low.step)} to {short_number(newest.val_loss)}, while the training loss fell to "
        f"{short_number(newest.train_level)}.",
        evidence,
        min(0.95, 0.6 + max(rise, 0.0)),
        also_try=(
            f"stop, and use the checkpoint of step {count(low.step)}",
            "more or more varied data, fewer epochs, or more dropout",
        ),
        good_step=low.step,
    )
