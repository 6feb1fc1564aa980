"""Where in its schedule a run is."""

from __future__ import annotations

from tui_trainer.advisor.state import AdvisorState
from tui_trainer.contracts.advice import JobFacts

# Seen over small bases here: 2e-3 trains all of them, 1e-2 hardly any.
HIGHEST_ADAPTER_RATE = 2e-3


def is_cold_start(memory: AdvisorState, facts: JobFacts) -> bool:
    """Whether the run has just started, without a proper warmup; a trouble that began so goes
    on under the same name."""
    if "warmup_too_short" in memory.open:
        return True
    if just_raised(memory) or (memory.rate is None and facts.warmup_steps is None):
        return False
    warm = facts.warmup_steps if facts.warmup_steps is not None else memory.warm_steps
    began = memory.step - memory.first_step
    return warm < 5 and memory.rows <= 80 and began <= 160


def is_beyond_adapters(memory: AdvisorState, facts: JobFacts) -> bool:
    """Whether an adapter is trained at a rate at which hardly any base here learned anything."""
    return facts.adapter and (memory.rate or 0.0) >= 5 * HIGHEST_ADAPTER_RATE


def is_warming(memory: AdvisorState, facts: JobFacts) -> bool:
    """Whether the rate still rises to its peak."""
    if facts.warmup_steps is not None:
        return memory.step - memory.first_step < facts.warmup_steps
    return memory.rate is not None and memory.rows - memory.peak_row < 8


def just_raised(memory: AdvisorState) -> bool:
    """Whether the rate rose at once to more than twice its value in the newest 60 rows."""
    return memory.raised_at is not None and memory.rows - memory.raised_at < 60


def fell(memory: AdvisorState) -> bool:
    """Whether the rate fell at once to less than a twentieth, which no decay does."""
    return bool(
        memory.former_rate and memory.rate is not None and memory.rate < memory.former_rate / 20
    )


def safe_rate(memory: AdvisorState, facts: JobFacts, factor: float) -> float | None:
    """A rate to go to where none is known to be good: for an adapter, `factor` of the rate, but
    not above what adapters bear; None where a factor is all that can be said."""
    if not facts.adapter or not memory.rate:
        return None
    return min(factor * memory.rate, facts.usual_rate or HIGHEST_ADAPTER_RATE)


def healthy_rate(memory: AdvisorState) -> float | None:
    """The rate at which the loss was at its lowest, where it has been raised well above since:
    the rate to go back to."""
    rate = memory.reference.rate
    if memory.reference.ready and rate and memory.rate and memory.rate > 1.5 * rate:
        return rate
    return None
