"""What a job says about its run beforehand."""

from __future__ import annotations

from tui_trainer.contracts.advice import JobFacts
from tui_trainer.contracts.job import Job


def facts_of(job: Job, total_steps: int | None) -> JobFacts:
    """The facts of a job of ours; `total_steps` as planned by the engine (`state.json`)."""
    training = job.training
    return JobFacts(
        learning_rate=training.learning_rate,
        scheduler=training.scheduler,
        warmup_steps=training.warmup_steps,
        total_steps=total_steps or training.max_steps,
        adapter=True,
    )
