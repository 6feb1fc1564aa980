"""The facts of a job that the advisor uses, and the usual learning rate for its base."""

from __future__ import annotations

from tui_trainer.advisor.schedule_phase import HIGHEST_ADAPTER_RATE
from tui_trainer.contracts.advice import JobFacts
from tui_trainer.contracts.job import Job

# The usual rate for adapters falls with the hidden size by a power law: 2e-4 is customary at
# 4,096, and about 3e-3 was measured as good at 192. The exponent is that of Llama in Schulman et
# al., "LoRA Without Regret" (Thinking Machines, 2025).
_RATE, _WIDTH, _POWER = 2e-4, 4096, 0.78


def usual_rate(hidden_size: int | None) -> float | None:
    """The usual learning rate for an adapter of a base with this hidden size, at most
    `HIGHEST_ADAPTER_RATE`. None where the hidden size is not known."""
    if not hidden_size or hidden_size < 0:
        return None
    rate = _RATE * (_WIDTH / hidden_size) ** _POWER
    return float(f"{min(rate, HIGHEST_ADAPTER_RATE):.2g}")


def facts_of(job: Job, total_steps: int | None, usual: float | None = None) -> JobFacts:
    """The facts of a job of this program.

    Args:
        job: the job.
        total_steps: steps planned by the engine (`state.json`).
        usual: usual learning rate for the base (from the event `setup`).
    """
    training = job.training
    return JobFacts(
        learning_rate=training.learning_rate,
        scheduler=training.scheduler,
        warmup_steps=training.warmup_steps,
        total_steps=total_steps or training.max_steps,
        adapter=True,
        usual_rate=usual,
    )
