"""Recovery from losses and gradients that are not finite, and from lack of memory."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Sequence
from typing import Literal

import torch

from tui_trainer.contracts.errors import NoMemoryError, UserError
from tui_trainer.contracts.runs.run import Event
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.state.session import Session, StepResult
from tui_trainer.text import formats

MOST_SKIPPED = 3  # steps in a row without finite numbers, at which the run ends


def skip_step(session: Session, outcome: StepResult, rate: float) -> None:
    """Log a step whose loss or gradient was not finite; its weights are unchanged.

    Raises `UserError` after `MOST_SKIPPED` in a row.
    """
    state = session.state
    state.skipped += 1
    names = outcome.nonfinite
    values = " and ".join(name.replace("_", " ") for name in names)
    session.report.event(
        "warning",
        state.step,
        f"{values} not finite at step {formats.count(state.step)}: step skipped, weights unchanged",
        detail={"nonfinite": names, "in_a_row": state.skipped},
    )
    if state.skipped < MOST_SKIPPED:
        return
    session.writer.wait()
    last = checkpoint.newest_name(session)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    raise UserError(
        f"{values} not finite at step {formats.count(state.step)}, in {MOST_SKIPPED} steps in a "
        f"row, learning rate {formats.rate(rate)}: training stopped; {kept}; use a lower learning "
        "rate",
        exit_status=1,
    )


def random_state(session: Session) -> dict[str, torch.Tensor]:
    """Return the random states of the CPU and of the device, by device type."""
    state = {"cpu": torch.get_rng_state()}
    if session.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(session.device)
    return state


def restore(session: Session, random: dict[str, torch.Tensor]) -> None:
    """Restore the random states that `random_state` returned."""
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], session.device)


def halve_pass_size(
    session: Session,
    passes: list[Sequence[Example]],
    error: BaseException,
    during: Literal["step", "evaluation"] = "step",
) -> None:
    """Halve the examples per pass after memory ran out, so that the work can be repeated.

    A step's examples and its gradient stay the same. Raises `NoMemoryError` where a pass of
    one example is too large already.
    """
    largest = session.ranks.agree_on_pass_size(max(len(group) for group in passes))
    if largest == 1:
        job, changes = session.job, ["lower data.max_length"]
        if not job.training.gradient_checkpointing:
            changes.append("set training.gradient_checkpointing = true")
        if job.quantization == "none":
            changes.append('set quantization = "nf4"')
        raise NoMemoryError(
            f"out of memory with one example per pass: {', '.join(changes)}, or use a smaller base"
        ) from error
    session.optimizer.zero_grad(set_to_none=True)
    session.state.micro_batch = largest // 2
    gc.collect()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()
    session.report.event(
        "warning",
        session.state.step,
        f"out of memory with {largest} examples per pass: {largest // 2} per pass and more "
        "passes per step from now on; the effective batch size stays the same",
        detail={"micro_batch": largest // 2, "during": during},
    )


def pass_sizes_to_replay(events: Iterable[Event], from_step: int) -> list[tuple[int, str, int]]:
    """Return (step, "step" or "evaluation", examples per pass) for every time that memory ran out
    at or after `from_step`. A run resumed after a kill uses the same passes again, for bit-exact
    results, even if memory suffices now. Steps that a rewind has undone do not count."""
    found: list[tuple[int, str, int]] = []
    for event in events:
        if "micro_batch" in event.detail:
            during = str(event.detail.get("during", "step"))
            found.append((event.step, during, int(event.detail["micro_batch"])))
        elif event.kind == "resumed" and event.detail.get("rewound"):
            found = [item for item in found if item[0] < event.step]
    return [item for item in found if item[0] >= from_step]


def replay_pass_size(session: Session, during: Literal["step", "evaluation"]) -> None:
    """Set the pass size that lack of memory required at this step before the run was killed."""
    for step, where, size in session.pass_sizes_to_replay:
        if (step, where) == (session.state.step, during):
            session.state.micro_batch = min(size, session.state.micro_batch or size)
