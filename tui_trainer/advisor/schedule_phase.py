"""The phase of its learning rate schedule in which a run is."""

from __future__ import annotations

from tui_trainer.advisor.state import AdvisorState
from tui_trainer.contracts.advice import JobFacts

# Measured over small bases: 2e-3 trains all of them, 1e-2 hardly any.
HIGHEST_ADAPTER_RATE = 2e-3


def is_cold_start(state: AdvisorState, facts: JobFacts) -> bool:
    """Whether the run has just started without a proper warmup, or has open advice on that."""
    if "warmup_too_short" in state.open:
        return True
    if rate_just_raised(state) or (state.rate is None and facts.warmup_steps is None):
        return False
    warm = facts.warmup_steps if facts.warmup_steps is not None else state.warm_steps
    return warm < 5 and state.rows <= 80 and state.step - state.first_step <= 160


def is_far_above_usual(state: AdvisorState, facts: JobFacts) -> bool:
    """Whether an adapter is trained at a rate at which hardly any base learns anything."""
    return facts.adapter and (state.rate or 0.0) >= 5 * HIGHEST_ADAPTER_RATE


def is_warming_up(state: AdvisorState, facts: JobFacts) -> bool:
    """Whether the learning rate still rises to its peak."""
    if facts.warmup_steps is not None:
        return state.step - state.first_step < facts.warmup_steps
    return state.rate is not None and state.rows - state.peak_row < 8


def rate_just_raised(state: AdvisorState) -> bool:
    """Whether the learning rate more than doubled from one row to the next, in the newest 60
    rows."""
    return state.raised_at is not None and state.rows - state.raised_at < 60


def rate_fell(state: AdvisorState) -> bool:
    """Whether the learning rate fell to less than a twentieth from one row to the next, which no
    decay does."""
    return bool(
        state.former_rate and state.rate is not None and state.rate < state.former_rate / 20
    )


def fallback_rate(state: AdvisorState, facts: JobFacts, factor: float) -> float | None:
    """The rate to propose where no earlier rate is known to be good: for an adapter `factor` times
    the present one, at most the usual rate. None where only the factor can be proposed."""
    if not facts.adapter or not state.rate:
        return None
    return min(factor * state.rate, facts.usual_rate or HIGHEST_ADAPTER_RATE)


def rate_of_lowest_loss(state: AdvisorState) -> float | None:
    """The rate at which the loss was lowest, if the present rate is well above it."""
    rate = state.reference.rate
    if state.reference.ready and rate and state.rate and state.rate > 1.5 * rate:
        return rate
    return None
