"""Rules on progress: plateau of the training loss, and a validation loss that turns."""

from __future__ import annotations

from collections.abc import Sequence

from tui_trainer.advisor import robust_stats
from tui_trainer.advisor.advice_lifecycle import Condition
from tui_trainer.advisor.schedule_phase import fell, is_warming
from tui_trainer.advisor.state import AdvisorState, EvaluationPoint, scale
from tui_trainer.contracts.advice import Evidence, JobFacts, Urgency
from tui_trainer.text.formats import short_number

# Adam moves a weight by about the rate in a step, so an adapter, which begins at zero, learns
# nothing in hundreds of steps below the first; the second is usual for adapters.
TINY_RATE, USUAL_RATE = 3e-6, 2e-4
SLOW = 200  # rows after which nothing learned is told where the rate itself is not absurd
STANDING = 5  # evaluations within which training may leave validation behind
WINDOW = 40  # rows in which a learning run shows that it learns


def plateau(memory: AdvisorState, facts: JobFacts) -> Condition | None:
    """The loss stands still at a rate that the schedule has not lowered.

    Above low urgency only where nothing was learned at a rate at which nothing can be, or where
    the rate fell at once to a fraction and the loss has stood still since. A decayed
    rate is no plateau.
    """
    if memory.rows % 4 or memory.rows < WINDOW or "divergence" in memory.open:
        return None
    if is_warming(memory, facts):
        return None
    fallen = fell(memory)
    rows_here = memory.rows - (memory.fell_at or 0) if fallen else memory.rows - memory.peak_row
    if fallen:
        if rows_here < 24 or not _stands(memory.losses[-rows_here:][-WINDOW:]):
            return None
        # Nothing is lost by going back to the step before the fall, where it is still known.
        before = memory.steps[-rows_here - 2 :][0] if rows_here + 2 <= len(memory.steps) else None
        return _finding(memory, "high", 0.8, memory.former_rate, good_step=before)
    if memory.peak_rate and (memory.rate or 0.0) < 0.5 * memory.peak_rate:
        return None
    if rows_here >= WINDOW - 8 and _learned_nothing(memory):
        tiny = facts.adapter and 0 < memory.peak_rate < TINY_RATE
        if tiny:
            usual = facts.usual_rate or USUAL_RATE
            start = memory.first_step - 1
            return _finding(memory, "high", 0.85, usual, learned=False, good_step=start)
        # A large model's own fine-tuning may creep for long before it shows.
        if rows_here >= SLOW and memory.rows % 16 == 0 and _is_flat(memory):
            return _finding(memory, "low", 0.5, None, learned=False)
    return _late(memory, facts)


def _stands(losses: list[float]) -> bool:
    """Whether no fall can be seen: the trend test does not say so, nor does it fall by more
    than a half percent."""
    means = [sum(losses[i : i + 4]) / 4 for i in range(0, len(losses) - 3, 4)]
    fall = -robust_stats.slope(means) * len(means)
    return robust_stats.kendall(means) > -2.0 or fall < 0.005 * abs(robust_stats.median(means))


def _is_flat(memory: AdvisorState) -> bool:
    """Whether even the steepest fall that the noise leaves possible is under 2 % over the
    blocks: a test for sameness, so that more noise asks for more rows."""
    levels = [block.level for block in memory.blocks]
    fall = -robust_stats.slope(levels) * len(levels)
    error: float = robust_stats.noise(levels) * (12 / len(levels)) ** 0.5
    return fall + 2 * error < 0.02 * abs(memory.first)


def _learned_nothing(memory: AdvisorState) -> bool:
    """Whether the loss is where it began."""
    recent = memory.losses[-WINDOW:]
    noise = robust_stats.noise(recent)
    now = robust_stats.median(recent[-16:])
    begun = memory.first - now
    return begun < max(0.02 * abs(memory.first), noise) and _stands(recent)


def _late(memory: AdvisorState, facts: JobFacts) -> Condition | None:
    """The last third of the whole run's curve stands still. Of low urgency: many good runs end
    like this."""
    window = max(8, len(memory.coarse) // 3)
    if len(memory.coarse) < 12 or memory.rows % 16:
        return None
    levels = memory.coarse[-window:]
    middle = robust_stats.median(levels)
    left = None if facts.total_steps is None else facts.total_steps - memory.step
    fall = -robust_stats.slope(levels) * len(levels)
    if robust_stats.kendall(levels) < -1.0 or fall > 0.003 * abs(middle):
        return None
    if middle < 0.05 * memory.first or (left is not None and left < 0.1 * memory.step):
        return None
    return _finding(memory, "low", 0.4, None)


def _finding(
    memory: AdvisorState,
    urgency: Urgency,
    confidence: float,
    target: float | None,
    *,
    learned: bool = True,
    good_step: int | None = None,
) -> Condition:
    recent = memory.losses[-WINDOW:]
    now = robust_stats.median(recent)
    if target is not None and memory.former_rate == target:
        words = (
            f"The learning rate fell to {short_number((memory.rate or 0) / target)} of what it was"
        )
        reason = f"{words}, and the loss no longer falls from {short_number(now)}."
    elif learned:
        reason = f"The loss stayed at {short_number(now)} over the last third of the run."
    else:
        reason = (
            f"The model does not learn: the loss started at {short_number(memory.first)} and is "
            f"{short_number(now)}."
        )
    third = memory.step - (memory.step - memory.first_step) // 3
    first = third if learned else memory.steps[-len(recent)]
    evidence = Evidence(
        metric="loss",
        first_step=first,
        last_step=memory.step,
        value=now,
        level=memory.first,
        limit=now - scale(memory),
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
        stays=160 if urgency == "low" else 24,
    )


def overfitting(memory: AdvisorState) -> Condition | None:
    """The validation loss has turned and rises, or stands, while the training loss falls."""
    points = memory.evaluations
    if len(points) < 4:
        return None
    if _left_behind(points):
        return _turned(points[-STANDING], points[-1], points[-STANDING].val_loss, None)
    best = min(range(len(points)), key=lambda i: points[i].val_loss)
    if len(points) - 1 - best < 2:
        return None
    low = points[best]
    unit = max(robust_stats.wander([p.val_loss for p in points[-12:]]), 0.005 * abs(low.val_loss))
    # One or two lucky evaluations are no turn: the low is the median of the five around the best.
    level = robust_stats.median([p.val_loss for p in points[max(best - 2, 0) : best + 3]])
    learned = max(points[0].val_loss - level, 0.0)
    limit = level + max(4 * unit, 0.02 * abs(level), 0.01 * learned)
    newest = points[-1]
    is_open = "overfitting" in memory.open
    fallen = low.train_level - newest.train_level
    if fallen < max(3 * low.train_noise, 0.1 * low.train_level):
        return None
    # Small validation sets waver: the newest three say so together.
    late = robust_stats.median([p.val_loss for p in points[-3:]])
    if newest.val_loss < limit or (not is_open and late < level + 3 * unit):
        return None
    return _turned(low, newest, level, limit)


def _left_behind(points: Sequence[EvaluationPoint]) -> bool:
    """Whether training went on by a third within a few evaluations, and validation hardly did."""
    if len(points) < STANDING:
        return False
    then, now = points[-STANDING], points[-1]
    fallen = then.train_level - now.train_level
    went_on = fallen >= max(6 * then.train_noise, then.train_level / 3)
    late = robust_stats.median([p.val_loss for p in points[-2:]])
    return went_on and late >= 0.98 * then.val_loss


def _turned(
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
        f"The validation loss {moved} from {short_number(low.val_loss)} at step {low.step} to "
        f"{short_number(newest.val_loss)}, while the training loss fell to "
        f"{short_number(newest.train_level)}.",
        evidence,
        min(0.95, 0.6 + max(rise, 0.0)),
        also_try=(
            f"stop, and use the checkpoint of step {low.step}",
            "more or more varied data, fewer epochs, or more dropout",
        ),
        good_step=low.step,
    )
