"""Evaluation on the validation examples."""

from __future__ import annotations

import contextlib
import math
import time

import msgspec
import torch

from tui_trainer.contracts.errors import is_out_of_memory
from tui_trainer.contracts.runs.metrics import EvalRecord, Evaluation, finite_or_none
from tui_trainer.contracts.runs.run import BestEvaluation
from tui_trainer.engine import recovery
from tui_trainer.engine.advice import observe
from tui_trainer.engine.data import batching
from tui_trainer.engine.loss import weighted_sum
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.session import Session
from tui_trainer.engine.teaching.retained_answers import divergence
from tui_trainer.engine.validation import classification_metrics
from tui_trainer.engine.validation.sample_answers import answer_samples
from tui_trainer.engine.validation.validation_progress import (
    EvaluationCancelledError,
    ValidationProgress,
)
from tui_trainer.text import formats

_LARGEST_EXPONENT = 700.0  # of a perplexity that is a finite number
MOST_MEASURED = 16  # answers in which the divergence from the base is measured


def evaluate(session: Session) -> bool:
    """Measure loss and accuracy per learned token and write the record; return whether it is the
    best so far. Draws no random numbers, so that training does not depend on evaluations. The
    user's command `skip-evaluation` cancels it: then there is no record."""
    state, report = session.state, session.report
    step_records.flush(session)
    recovery.replay_pass_size(session, "evaluation")
    report.set_state("evaluating", f"evaluating at step {formats.count(state.step)}")
    started = time.monotonic()
    session.ranks.broadcast("evaluate", micro_batch=state.micro_batch)
    try:
        loss, accuracy, scored = _measure_all(session)
    except EvaluationCancelledError:
        state.evaluated_step, state.scores = state.step, {}  # not measured again at the end
        return False
    state.evaluated_step, state.scores = state.step, _scores(loss, accuracy, scored)
    _count_towards_stopping(session)
    record = EvalRecord(
        step=state.step,
        epoch=session.plan.epoch(state.step),
        val_loss=finite_or_none(loss),
        val_accuracy=finite_or_none(accuracy),
        val_f1_macro=scored.f1_macro if scored else msgspec.UNSET,
        val_precision_macro=scored.precision_macro if scored else msgspec.UNSET,
        val_recall_macro=scored.recall_macro if scored else msgspec.UNSET,
        time=time.time(),
        nonfinite=msgspec.UNSET if math.isfinite(loss) else ["val_loss"],
    )
    answer_samples(session)
    report.evaluation(record, time.monotonic() - started)
    observe.observe(session, record)
    improved = _compare(session)
    if scored is not None:
        classification_metrics.record(session, scored, improved=improved)
    text = classification_metrics.summary(scored) if scored else f"val_loss {formats.number(loss)}"
    metric = session.metric.name
    if metric in state.scores and metric not in ("val_loss", "val_f1_macro"):
        text += f", {metric} {formats.number(state.scores[metric])}"
    report.event(
        "evaluation",
        state.step,
        f"evaluation: {text}{' (best)' if improved else ''}",
        detail={"val_loss": record.val_loss, "val_accuracy": record.val_accuracy},
    )
    return improved


def _scores(loss: float, accuracy: float, scored: Evaluation | None) -> dict[str, float]:
    """Return the metrics of an evaluation by name; none where the loss is not finite, as such
    weights are not better than others."""
    if not math.isfinite(loss):
        return {}
    scores = {"val_loss": loss, "val_accuracy": accuracy}
    if scored is None:
        scores["val_perplexity"] = math.exp(min(loss, _LARGEST_EXPONENT))
    else:
        scores["val_f1_macro"] = scored.f1_macro
        scores["val_precision_macro"] = scored.precision_macro
        scores["val_recall_macro"] = scored.recall_macro
    return {name: value for name, value in scores.items() if math.isfinite(value)}


def _compare(session: Session) -> bool:
    """Remember the evaluation that was just made where it is the best so far; return whether it
    is, by the run's metric."""
    state, metric = session.state, session.metric
    loss, value = state.scores.get("val_loss"), state.scores.get(metric.name)
    if loss is not None and (state.best_val_loss is None or loss < state.best_val_loss):
        state.best_val_loss, state.best_step = loss, state.step
    improved = value is not None and (
        state.best is None or metric.gain(value, state.best.value) > 0
    )
    if improved and value is not None:
        state.best = BestEvaluation(metric=metric.name, value=value, step=state.step)
    session.report.set_best(state.best_val_loss, state.best_step, state.best)
    return improved


def measure_divergence(session: Session) -> None:
    """Measure how far the adapter moves the model from the base in answers that it was not trained
    to retain, and log it; where memory runs out it is not measured, which is logged too."""
    examples = batching.longest_first(session.plan.measured[:MOST_MEASURED])
    session.model.eval()
    total = 0.0
    try:
        with torch.no_grad(), session.autocast():
            for group in batching.groups_of(examples, session.pass_size):
                total += float(
                    divergence(session.model, session.collate(group), session.forward_mode)
                )
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        session.report.event(
            "warning", session.state.step, "out of memory: the change from the base is not measured"
        )
        return
    finally:
        session.model.train()
    mean = total / sum(example.learned_count() for example in examples)
    session.report.event(
        "evaluation",
        session.state.step,
        f"mean KL divergence from the base {mean:.3g} nats per token "
        f"({formats.plural(len(examples), 'answer')} not trained on)",
        detail={"divergence": mean},
    )


def follow(session: Session) -> None:
    """Compute this process's part of an evaluation that the leader started, or cancels."""
    with contextlib.suppress(EvaluationCancelledError):
        _measure_all(session)


def has_stalled(session: Session) -> bool:
    """Return whether early stopping ends the run after this evaluation."""
    patience = session.job.training.early_stopping_patience
    return patience > 0 and session.state.stopping_count >= patience


def log_early_stop(session: Session) -> None:
    """Log that early stopping ends the run, and why."""
    state = session.state
    session.report.event(
        "warning",
        state.step,
        f"{session.metric.name} has not improved in "
        f"{formats.plural(state.stopping_count, 'evaluation')} "
        f"(best {formats.number(state.stopping_best)}): stopping early",
    )


def _measure_all(session: Session) -> tuple[float, float, Evaluation | None]:
    """Return loss, accuracy and a classifier's scores. Where memory runs out, all is measured again
    in smaller passes."""
    while True:
        try:
            if not session.dataset.labels:
                return *_measure(session), None
            loss, scored = classification_metrics.measure(session)
            return loss, scored.accuracy, scored
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            passes = batching.groups_of(session.dataset.validation, session.pass_size)
            recovery.halve_pass_size(session, passes, error, "evaluation")


def _count_towards_stopping(session: Session) -> None:
    """Update early stopping's best value and the number of evaluations without improvement; a value
    that is not finite is no improvement."""
    state, metric = session.state, session.metric
    least = session.job.training.early_stopping_min_delta
    value, best = state.scores.get(metric.name), state.stopping_best
    if value is not None and (best is None or metric.gain(value, best) > least):
        state.stopping_best, state.stopping_count = value, 0
    else:
        state.stopping_count += 1


def _measure(session: Session) -> tuple[float, float]:
    """Return loss and accuracy; examples of similar length share a pass."""
    examples = batching.longest_first(session.dataset.validation)
    size = session.pass_size
    passes = session.ranks.own_passes(batching.groups_of(examples, size))
    progress = ValidationProgress(session, len(passes), len(examples))
    session.model.eval()
    sums = torch.zeros(2, dtype=torch.float64, device="cpu")
    try:
        with torch.no_grad(), session.autocast():
            for group in passes:
                both = weighted_sum(
                    session.model, session.collate(group), session.forward_mode, count_hits=True
                )
                part = torch.stack(both).to("cpu", torch.float64)
                sums += part
                if not progress.add(len(group), part[0], batching.learned_weight(group)):
                    break
    finally:
        session.model.train()
    progress.end()
    weight = batching.learned_weight(examples)
    loss, hits = session.ranks.sum(sums).tolist()
    return loss / weight, hits / weight
