"""Measurements of a step's gradients, for the details of a run."""

from __future__ import annotations

import time

import msgspec
import torch

from tui_trainer.contracts.runs.metrics import GradientCheck
from tui_trainer.engine.state.session import Session, StepResult
from tui_trainer.store import atomic

EVERY = 50  # steps; also the first one, and each whose loss or gradients are not finite


def is_due(session: Session) -> bool:
    """Return whether the gradients of the step after `state.step` finished ones are measured."""
    return (session.state.step + 1) % EVERY == 0 or session.state.step == 0


def measure(session: Session) -> GradientCheck:
    """Return what the gradients are now, before clipping; waits for a GPU."""
    parameters = session.parameters.values()
    gradients = [p.grad.detach() for p in parameters if p.grad is not None]
    nan = infinite = 0
    largest: float | None = None
    if gradients:
        parts = torch.stack([_counts(gradient) for gradient in gradients]).cpu()
        nan, infinite = int(parts[:, 0].sum()), int(parts[:, 1].sum())
        top = float(parts[:, 2].max())
        largest = top if top >= 0 else None
    return GradientCheck(
        step=session.state.step + 1,
        time=time.time(),
        largest=largest,
        nan=nan,
        infinite=infinite,
        with_gradient=sum(gradient.numel() for gradient in gradients),
        parameters=sum(p.numel() for p in parameters),
    )


def record(session: Session, outcome: StepResult) -> None:
    """Write `gradients.json`, if the step's gradients were measured; on a full disk it stays as it
    is until the next time."""
    check = outcome.gradients
    if check is None:
        return
    last: int | None = check.step
    if not check.nan and not check.infinite:
        former = session.folder.gradients()
        last = None if former is None else former.last_not_finite
    check = msgspec.structs.replace(check, last_not_finite=last)
    try:
        atomic.write_json(session.folder.gradients_file, check)
    except OSError as error:
        if not atomic.is_full(error):
            raise


def _counts(gradient: torch.Tensor) -> torch.Tensor:
    """Return the number of NaN, of infinite values, and the largest finite magnitude (-1: none);
    shape (3,), fp64."""
    size = gradient.abs().double()
    nan, infinite = size.isnan(), size.isinf()
    finite = torch.where(nan | infinite, -1.0, size)
    return torch.stack([nan.sum().double(), infinite.sum().double(), finite.max()])
