"""The training loop: a bare step, and around it what happens once in a while."""

from __future__ import annotations

import math
import time

import msgspec
import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.metrics import TrainRecord, finite_or_none
from tui_trainer.contracts.run import StateName
from tui_trainer.contracts.schedule import learning_rate_at
from tui_trainer.engine import batches, checkpoint
from tui_trainer.engine.data import Example
from tui_trainer.engine.evaluate import autocast, evaluate
from tui_trainer.engine.loss import weighted_sum
from tui_trainer.engine.obey import obey
from tui_trainer.engine.optim import set_learning_rate
from tui_trainer.engine.session import Session


def train(session: Session) -> StateName:
    """Trains to the end or until told otherwise; gives the state the run ends in.

    Raises `UserError` where loss or gradients are no longer finite.
    """
    settings = session.job.training
    plan, state, report = session.plan, session.state, session.report
    session.model.train()
    report.start_clock(state.elapsed_seconds)
    report.state("training")

    while state.step < plan.total_steps:
        # Commands, obeyed between two steps; a pause waits in here.
        verdict = obey(session)
        if verdict is not None:
            return verdict

        # One optimizer step.
        began = time.perf_counter()
        passes = plan.passes(state.step)
        rate = learning_rate_at(
            state.step, settings, plan.total_steps, state.learning_rate_override
        )
        set_learning_rate(session.optimizer, rate)
        loss = forward_backward(session, passes)
        norm = torch.nn.utils.clip_grad_norm_(
            session.parameters.values(), settings.max_gradient_norm
        ).item()
        healthy = math.isfinite(loss) and math.isfinite(norm)
        if healthy:
            session.optimizer.step()
        session.optimizer.zero_grad(set_to_none=True)

        # What it was.
        state.step += 1
        record = step_record(session, passes, loss, norm, rate, time.perf_counter() - began)
        state.tokens_seen += record.tokens
        report.train_step(record, evaluations_left(session))
        if not healthy:
            raise stopped_nonfinite(session, record)

        # Once in a while: evaluate, save.
        improved = False
        if due(settings.eval_every, state.step) and session.dataset.validation:
            improved = evaluate(session)
        if improved or due(settings.checkpoint_every, state.step):
            checkpoint.save(session)
        report.resume_training()

    if session.dataset.validation and state.evaluated_step != state.step:
        evaluate(session)
    checkpoint.save(session)
    return "completed"


def forward_backward(session: Session, passes: list[list[Example]]) -> float:
    """Gradients of the step's mean loss per learned token, over all its forward passes."""
    total_weight = sum(batches.learned_weight(group) for group in passes)
    total = 0.0
    for group in passes:
        batch = batches.collate(group, session.tokenizer.pad_token_id, session.device)
        with autocast(session):
            summed, _ = weighted_sum(session.model, batch)
        loss = summed / total_weight
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.item()
    return total


def step_record(
    session: Session,
    passes: list[list[Example]],
    loss: float,
    norm: float,
    rate: float,
    seconds: float,
) -> TrainRecord:
    """The step's line of `metrics.jsonl`."""
    values = {"loss": loss, "gradient_norm": norm}
    odd = [name for name, value in values.items() if not math.isfinite(value)]
    return TrainRecord(
        step=session.state.step,
        epoch=session.plan.epoch(session.state.step),
        loss=finite_or_none(loss),
        learning_rate=rate,
        gradient_norm=finite_or_none(norm),
        step_time_ms=round(seconds * 1000, 3),
        tokens=sum(len(example.input_ids) for group in passes for example in group),
        examples=sum(len(group) for group in passes),
        time=time.time(),
        nonfinite=odd or msgspec.UNSET,
    )


def due(every: int, step: int) -> bool:
    """Whether something that happens `every` so many steps happens after `step`."""
    return every > 0 and step % every == 0


def evaluations_left(session: Session) -> int:
    """How many evaluations are still to come."""
    every, total = session.job.training.eval_every, session.plan.total_steps
    if not session.dataset.validation:
        return 0
    if every == 0:
        return 1
    return math.ceil(total / every) - session.state.step // every


def stopped_nonfinite(session: Session, record: TrainRecord) -> UserError:
    """The sentence for a run whose numbers broke, and what to do."""
    odd = " and ".join(str(name).replace("_", " ") for name in (record.nonfinite or []))
    last = checkpoint.newest_name(session)
    kept = f"the last good checkpoint is {last}" if last else "there is no checkpoint yet"
    return UserError(
        f"{odd} not finite at step {record.step}, learning rate {record.learning_rate:.3g}: "
        f"stopped before the weights were touched; {kept}; train again with a lower learning rate",
        exit_status=1,
    )
