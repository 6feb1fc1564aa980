"""The training loop: optimizer steps, and between them commands, evaluations, checkpoints."""

from __future__ import annotations

import contextlib
import math
import time

import torch

from tui_trainer.contracts.run import StateName
from tui_trainer.engine import recovery, save_adapter
from tui_trainer.engine.advice import observe
from tui_trainer.engine.checkpoints import checkpoint, rollback
from tui_trainer.engine.checkpoints.disk_space import NoRoomError
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.evaluate import evaluate, has_stalled
from tui_trainer.engine.execute_commands import execute_commands, may_have_commands
from tui_trainer.engine.loss import weighted_sum
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.learning_rate import rate_of_next_step
from tui_trainer.engine.state.session import Session, StepResult


def train(session: Session) -> StateName:
    """Train to the end, or until stop or cancel; return the state the run ends in.

    Raises `UserError` where loss or gradients are not finite for several steps in a row.
    """
    try:
        return _train(session)
    finally:
        step_records.flush(session)
        session.writer.wait()


def _train(session: Session) -> StateName:
    settings = session.job.training
    plan, state, report = session.plan, session.state, session.report
    session.model.train()
    report.start_clock(state.elapsed_seconds)
    report.set_state("training")
    if state.step == 0 and observe.settings_of(session).auto_apply:
        checkpoint.save(session, wait=False)  # the start, for a rollback

    has_result = False
    while state.step < plan.total_steps or session.pending_rollback is not None:
        # Roll back to a good checkpoint, where the advisor or the user asked for it.
        rollback.roll_back(session)
        state = session.state

        # Commands are executed between two steps; a pause waits in here.
        verdict = execute_commands(session) if may_have_commands(session) else None
        if verdict is not None:
            return verdict
        if session.pending_rollback is not None:
            continue

        # One optimizer step.
        recovery.replay_pass_size(session, "step")
        session.step_profile.begin()
        started = time.perf_counter()
        rate = rate_of_next_step(session)
        set_learning_rate(session.optimizer, rate)
        session.ranks.broadcast(
            "step", finished=state.step, rate=rate, micro_batch=state.micro_batch
        )
        outcome = step(session)

        # Record it.
        state.step += 1
        step_records.record_step(session, outcome, rate, time.perf_counter() - started)
        if session.step_profile.is_profiling:
            session.step_profile.end(state.step, step_records.tokens_of(outcome))
        if session.pending_rollback is not None:
            continue
        if outcome.healthy:
            state.skipped = 0
        elif not session.scaler.is_enabled() or not math.isfinite(outcome.loss):
            recovery.skip_step(session, outcome, rate)

        # Evaluate, save, and stop early, where they are due. No checkpoint is saved after a step
        # without finite numbers, since the weights may be unusable.
        has_result = state.step == plan.total_steps
        if has_result:
            _save_result(session)  # first, as it is what the training is for
        improved = False
        if due(settings.eval_every, state.step) and session.dataset.validation:
            improved = evaluate(session)
        if (improved or due(settings.checkpoint_every, state.step)) and not state.skipped:
            checkpoint.save(session, wait=False)
        if state.evaluated_step == state.step and has_stalled(session):
            _finish(session, has_result)
            return "early_stopped"
        report.resume_training()

    _finish(session, has_result)
    return "completed"


def _save_result(session: Session) -> None:
    """Write the adapter after the last step. Raises `NoRoomError`."""
    step_records.flush(session)
    session.writer.wait()
    session.report.set_state("saving", "writing the adapter")
    save_adapter.export_adapter(session)


def _finish(session: Session, has_result: bool) -> None:
    """Write the adapter, unless that is done, then evaluate and save the last checkpoint, which may
    be missing on a full disk. Raises `NoRoomError` for the adapter."""
    if not has_result:
        _save_result(session)
    if session.dataset.validation and session.state.evaluated_step != session.state.step:
        evaluate(session)
    with contextlib.suppress(NoRoomError):  # which was logged; the adapter is complete
        checkpoint.save(session)
    save_adapter.write_card(session)


def step(session: Session) -> StepResult:
    """Do one optimizer step: gradients, clipping, update. Where memory runs out it is repeated in
    smaller passes, from the same random state."""
    random = recovery.random_state(session)
    while True:
        passes = session.plan.passes(session.state.step, session.state.micro_batch)
        try:
            loss = forward_backward(session, passes)
            return update(session, loss, passes)
        except Exception as error:
            if not recovery.is_out_of_memory(error):
                raise
            recovery.restore(session, random)
            recovery.halve_pass_size(session, passes, error)


def update(session: Session, loss: torch.Tensor, passes: list[list[Example]]) -> StepResult:
    """Clip the gradients and update the weights, unless a number is not finite."""
    scaler = session.scaler
    scaler.unscale_(session.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(
        session.parameters.values(), session.job.training.max_gradient_norm
    )
    numbers: list[float] = torch.stack([loss, norm.float()]).tolist()
    healthy = all(math.isfinite(number) for number in numbers)
    if healthy or scaler.is_enabled():
        scaler.step(session.optimizer)  # a scaler skips infinite gradients itself
        scaler.update()
    session.optimizer.zero_grad(set_to_none=True)
    session.step_profile.mark("optimizer")
    return StepResult(numbers[0], numbers[1], passes, healthy)


def forward_backward(session: Session, passes: list[list[Example]]) -> torch.Tensor:
    """Compute the gradients of the step's mean loss per learned token, over all forward passes of
    all processes, and return that loss (scalar)."""
    total_weight = sum(batching.learned_weight(group) for group in passes)
    total = torch.zeros((), device=session.device)
    profile = session.step_profile
    for group in session.ranks.own_passes(passes):
        batch = session.collate(group)
        profile.mark("data")
        with session.autocast():
            summed, _ = weighted_sum(session.model, batch, session.forward_mode)
        loss = summed / total_weight
        profile.mark("forward")
        session.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        profile.mark("backward")
    return session.ranks.all_reduce(total)


def due(every: int, step: int) -> bool:
    """Return whether something is due after `step` that is done every `every` steps (0: never)."""
    return every > 0 and step % every == 0
