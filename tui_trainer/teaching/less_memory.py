"""The next smaller configuration of a training that ran out of memory.

The engine itself halves the examples per pass first. What is left then is to recompute
activations, and to hold the base in 4 bits.
"""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.job import Job, Quantization
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store.job_checks import quantization_problem
from tui_trainer.store.runs.run_folder import RunFolder

_CHECKPOINTING, _FOUR_BITS = "gradient checkpointing", "nf4 quantization (4 bits)"


def ran_out(run: RunFolder) -> str | None:
    """When memory ran out in a run that failed for it: `loading` the base or `training`."""
    errors = [event for event in run.events() if event.kind == "error"]
    during = errors[-1].detail.get("out_of_memory") if errors else None
    return None if during is None else str(during)


def smaller(job: Job, during: str) -> tuple[Job, str] | None:
    """The next smaller job and what it adds, or None. `during`: see `ran_out`; gradient
    checkpointing does not help to load a base."""
    if during == "training" and not job.training.gradient_checkpointing:
        training = msgspec.structs.replace(job.training, gradient_checkpointing=True)
        return msgspec.structs.replace(job, training=training), _CHECKPOINTING
    if job.quantization == "none" and quantization_problem("", "nf4") is None:
        return msgspec.structs.replace(job, quantization="nf4"), _FOUR_BITS
    return None


def notice(training_id: str, during: str, change: str) -> str:
    """The message for a training that is tried again with a change that `smaller` gave."""
    return (
        f"training {training_id}: {_shortage(during)}; it is trained again with {change}, which "
        "needs less memory"
    )


def failure(job: Job, during: str) -> str:
    """The message for a training without a smaller configuration, with what would help."""
    changes = ["shorten the longest corrections"] if during == "training" else []
    if job.quantization == "none":
        changes.append("pip install bitsandbytes, with which the base is held in 4 bits")
    changes.append("end other programs that need memory")
    tried = _used(job.training.gradient_checkpointing, job.quantization)
    also = f", also with {' and '.join(tried)}" if tried else ""
    return f"{_shortage(during)}{also}: {', '.join(changes)}, or use a smaller base"


def changes(job: Job, settings: TeachingSettings) -> str:
    """What a training used beyond its settings because memory ran out; empty for nothing."""
    wanted = _used(settings.gradient_checkpointing, settings.quantization)
    used = _used(job.training.gradient_checkpointing, job.quantization)
    return " and ".join(name for name in used if name not in wanted)


def _shortage(during: str) -> str:
    where = "while loading the base" if during == "loading" else "with one example per pass"
    return f"out of memory {where}"


def _used(checkpointing: bool, quantization: Quantization) -> list[str]:
    return [_CHECKPOINTING] * checkpointing + [_FOUR_BITS] * (quantization != "none")
