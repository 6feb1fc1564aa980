"""Evaluation on the validation examples."""

from __future__ import annotations

import math
import time

import msgspec
import torch

from tui_trainer.contracts.metrics import EvalRecord, finite_or_none
from tui_trainer.engine import batches
from tui_trainer.engine.loss import weighted_sum
from tui_trainer.engine.session import Session


def evaluate(session: Session) -> bool:
    """Measures loss and accuracy per learned token, writes the line, and says whether it is the
    best so far. Draws no random number, so training goes on as if it had not been."""
    state, report = session.state, session.report
    report.state("evaluating", f"evaluating at step {state.step:,}")
    began = time.monotonic()
    loss, accuracy = _measure(session)
    state.evaluated_step = state.step
    record = EvalRecord(
        step=state.step,
        epoch=session.plan.epoch(state.step),
        val_loss=finite_or_none(loss),
        val_accuracy=finite_or_none(accuracy),
        time=time.time(),
        nonfinite=msgspec.UNSET if math.isfinite(loss) else ["val_loss"],
    )
    report.evaluation(record, time.monotonic() - began)
    improved = record.val_loss is not None and (
        state.best_val_loss is None or record.val_loss < state.best_val_loss
    )
    if improved and record.val_loss is not None:
        state.best_val_loss, state.best_step = record.val_loss, state.step
        report.best(record.val_loss, state.step)
    report.event(
        "evaluation",
        state.step,
        f"evaluation: val_loss {loss:.4g}{' (best)' if improved else ''}",
        detail={"val_loss": record.val_loss, "val_accuracy": record.val_accuracy},
    )
    return improved


def _measure(session: Session) -> tuple[float, float]:
    examples = session.dataset.validation
    session.model.eval()
    losses = hits = 0.0
    with torch.no_grad(), autocast(session):
        for group in batches.split(examples, session.job.training.batch_size):
            batch = batches.collate(group, session.tokenizer.pad_token_id, session.device)
            loss, hit = weighted_sum(session.model, batch)
            losses += loss.item()
            hits += hit.item()
    session.model.train()
    weight = batches.learned_weight(examples)
    return losses / weight, hits / weight


def autocast(session: Session) -> torch.autocast:
    """bf16 arithmetic where the job asks for it."""
    return torch.autocast(
        session.device.type, torch.bfloat16, enabled=session.job.training.precision == "bf16"
    )
