"""What a job says about its run beforehand."""

from __future__ import annotations

from tui_trainer.advisor.schedule_phase import HIGHEST_ADAPTER_RATE
from tui_trainer.contracts.advice import JobFacts
from tui_trainer.contracts.job import Job

# A rate for adapters is known good at one width, and falls with it by a power: 2e-4 is customary
# at a width of 4,096, and about 3e-3 was found good here at 192. The exponent is Thinking
# Machines' for Llama (Schulman et al., "LoRA Without Regret", 2025).
_RATE, _WIDTH, _POWER = 2e-4, 4096, 0.78


def usual_rate(hidden_size: int | None) -> float | None:
    """A learning rate that is usual for an adapter of a base with so wide hidden states; not
    above what adapters bear. None where the width is not known."""
    if not hidden_size or hidden_size < 0:
        return None
    rate = _RATE * (_WIDTH / hidden_size) ** _POWER
    return float(f"{min(rate, HIGHEST_ADAPTER_RATE):.2g}")


def facts_of(job: Job, total_steps: int | None, usual: float | None = None) -> JobFacts:
    """The facts of a job of ours; `total_steps` as planned by the engine (`state.json`), `usual`
    the rate that is usual for its base (in the event `setup`)."""
    training = job.training
    return JobFacts(
        learning_rate=training.learning_rate,
        scheduler=training.scheduler,
        warmup_steps=training.warmup_steps,
        total_steps=total_steps or training.max_steps,
        adapter=True,
        usual_rate=usual,
    )
