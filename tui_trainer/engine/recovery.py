"""What keeps a run alive: numbers that are not finite, and memory that does not suffice."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from typing import Literal

import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import Event
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.state.session import Session, StepResult

# Steps in a row without finite numbers after which a run ends.
MOST_SKIPPED = 3


def skipped(session: Session, outcome: StepResult, rate: float) -> None:
    """A step whose loss or gradient was not finite: the weights were left as they were.

    Raises `UserError` after `MOST_SKIPPED` in a row.
    """
    state = session.state
    state.skipped += 1
    names = outcome.nonfinite
    odd = " and ".join(name.replace("_", " ") for name in names)
    session.report.event(
        "warning",
        state.step,
        f"{odd} not finite at step {state.step}: the step is skipped, the weights are untouched",
        detail={"nonfinite": names, "in_a_row": state.skipped},
    )
    if state.skipped < MOST_SKIPPED:
        return
    session.writer.wait()
    last = checkpoint.newest_name(session)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    raise UserError(
        f"{odd} not finite at step {state.step}, the {MOST_SKIPPED}rd in a row, learning rate "
        f"{rate:.3g}: stopped; {kept}; train again with a lower learning rate",
        exit_status=1,
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory did not suffice."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    # How the allocator of the CPU says it.
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def random_state(session: Session) -> dict[str, torch.Tensor]:
    """What the next random numbers follow from, on the CPU and on the device."""
    state = {"cpu": torch.get_rng_state()}
    if session.device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(session.device)
    return state


def restore(session: Session, random: dict[str, torch.Tensor]) -> None:
    """The random numbers come again from here."""
    torch.set_rng_state(random["cpu"])
    if "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], session.device)


def make_smaller(
    session: Session,
    passes: list[list[Example]],
    error: BaseException,
    during: Literal["step", "evaluation"] = "step",
) -> None:
    """After memory ran out: halves the examples a pass, so that the work can be done again.

    A step's examples stay the same, and so does its sum. Raises `UserError` where a pass of
    one example is too large already.
    """
    largest = session.ranks.agree_on_pass_size(max(len(group) for group in passes))
    if largest == 1:
        raise UserError(
            "out of memory with a single example a pass: lower data.max_length, set "
            "training.gradient_checkpointing = true, or use a smaller base",
            exit_status=1,
        ) from error
    session.optimizer.zero_grad(set_to_none=True)
    session.state.micro_batch = largest // 2
    gc.collect()
    if session.device.type == "cuda":
        torch.cuda.empty_cache()
    session.report.event(
        "warning",
        session.state.step,
        f"out of memory with {largest} examples a pass: from now on {largest // 2}, and more "
        "passes a step; the effective batch stays the same",
        detail={"micro_batch": largest // 2, "during": during},
    )


def smaller_to_replay(events: Iterable[Event], from_step: int) -> list[tuple[int, str, int]]:
    """(step, during what, examples a pass) of every time that memory ran out at or after
    `from_step`: a run killed after it must group its examples as it did, for the same bits,
    though memory may suffice now. A branch that a rewind has left does not count."""
    found: list[tuple[int, str, int]] = []
    for event in events:
        if "micro_batch" in event.detail:
            during = str(event.detail.get("during", "step"))
            found.append((event.step, during, int(event.detail["micro_batch"])))
        elif event.kind == "resumed" and event.detail.get("rewound"):
            found = [item for item in found if item[0] < event.step]
    return [item for item in found if item[0] >= from_step]


def again(session: Session, during: Literal["step", "evaluation"]) -> None:
    """Passes as small as they became at this very place before the run was killed."""
    for step, where, size in session.smaller_to_replay:
        if (step, where) == (session.state.step, during):
            session.state.micro_batch = min(size, session.state.micro_batch or size)
