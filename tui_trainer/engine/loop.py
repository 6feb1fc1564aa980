"""The training loop: optimizer steps, and between them commands, evaluations, checkpoints."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Sequence

import torch

from tui_trainer.contracts.errors import is_out_of_memory
from tui_trainer.contracts.runs.run import StateName
from tui_trainer.engine import gradient_health, recovery, save_adapter
from tui_trainer.engine.advice import observe
from tui_trainer.engine.checkpoints import checkpoint, rollback
from tui_trainer.engine.checkpoints.best import Result, result_of
from tui_trainer.engine.checkpoints.disk_space import NoRoomError
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.execute_commands import (
    execute_before_the_end,
    execute_commands,
    may_have_commands,
    refuse_unexecuted,
)
from tui_trainer.engine.loss import weighted_sum
from tui_trainer.engine.optimizer import set_learning_rate
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.learning_rate import rate_of_next_step
from tui_trainer.engine.state.session import Session, StepResult
from tui_trainer.engine.teaching.learned_answers import LearnedAnswers
from tui_trainer.engine.teaching.retained_answers import divergence
from tui_trainer.engine.validation.evaluate import (
    evaluate,
    has_stalled,
    log_early_stop,
    measure_divergence,
)
from tui_trainer.engine.validation.sample_answers import answer_samples
from tui_trainer.text import formats


def train(session: Session) -> StateName:
    """Train to the end, or until stop or cancel; return the state the run ends in.

    Raises `UserError` where loss or gradients are not finite for several steps in a row.
    """
    try:
        ending = _train(session)
        step_records.flush(session)
        refuse_unexecuted(session)
        return ending
    finally:
        step_records.flush(session)
        session.writer.wait()


def _train(session: Session) -> StateName:
    settings = session.job.training
    plan, state, report = session.plan, session.state, session.report
    session.model.train()
    report.start_clock(state.elapsed_seconds)
    if session.learned is not None:
        _report_learned(session, session.learned)
    report.set_state("training")
    if state.step == 0:
        answer_samples(session)  # the base's own answers, to compare with
        report.resume_training()
    if state.step == 0 and observe.settings_of(session).auto_apply:
        checkpoint.save(session, wait=False)  # the start, for a rollback

    is_last = False  # whether the last step was done in this session
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
        state = session.state

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
        gradient_health.record(session, outcome)
        if session.step_profile.is_profiling:
            session.step_profile.end(state.step, step_records.tokens_of(outcome))
        if session.pending_rollback is not None:
            continue
        if session.learned is not None and outcome.healthy and all_learned(session):
            break
        if outcome.healthy:
            state.skipped = 0
        elif not session.scaler.is_enabled() or not math.isfinite(outcome.loss):
            recovery.skip_step(session, outcome, rate)

        # Evaluate, save, and stop early, where they are due. After a step without finite numbers
        # the weights may be unusable, and are saved only if an evaluation shows that they are not.
        if state.step == plan.total_steps:
            verdict = execute_before_the_end(session)
            if verdict is not None:
                return verdict
            if session.pending_rollback is not None:
                continue
        is_last = state.step == plan.total_steps
        if is_last:
            _save(session, Result(state.step))  # first, as it is what the training is for
        improved = False
        if due(settings.eval_every, state.step):
            if session.dataset.validation:
                improved = evaluate(session)
            else:
                answer_samples(session)
        saves = improved or (due(settings.checkpoint_every, state.step) and not state.skipped)
        if saves and not is_last:  # the last one is saved at the end, after its evaluation
            checkpoint.save(session, wait=False)
        if state.evaluated_step == state.step and has_stalled(session):
            verdict = execute_before_the_end(session)
            if verdict is not None:
                return verdict
            if session.pending_rollback is not None:
                continue
            log_early_stop(session)
            _finish(session, is_last)
            return "early_stopped"
        report.resume_training()

    _finish(session, is_last)
    return "completed"


def all_learned(session: Session) -> bool:
    """Count the taught answers that the finished step has shown to be learned, report them, and
    return whether all were learned for as many steps in a row as the job sets."""
    assert session.learned is not None  # noqa: S101
    state, answers = session.state, session.learned
    answers.end_step(state.learned)
    _report_learned(session, answers)
    if not answers.finished(state.learned):
        return False
    session.report.set_total(state.step, session.plan.epoch(state.step))
    session.report.event(
        "learned",
        state.step,
        f"{formats.plural(answers.total, 'taught answer')} learned after "
        f"{formats.plural(state.step, 'step')}",
        detail={"taught": answers.total},
    )
    return True


def _report_learned(session: Session, answers: LearnedAnswers) -> None:
    state = session.state
    session.report.set_learned(
        answers.learned(state.learned),
        answers.total,
        steps_left=answers.steps_left(state.learned, state.step),
    )


def _save(session: Session, result: Result) -> None:
    """Write the adapter. Raises `NoRoomError`."""
    step_records.flush(session)
    session.writer.wait()
    session.report.set_state("saving", "writing the adapter")
    save_adapter.export_adapter(session, result)


def _finish(session: Session, has_last: bool) -> None:
    """Write the last weights, unless `has_last` (that is done), evaluate them, and replace them by
    the best ones; then save the last checkpoint, which may be missing on a full disk.

    Raises `NoRoomError` where the last weights cannot be written.
    """
    state = session.state
    pending = bool(session.dataset.validation) and state.evaluated_step != state.step
    if pending and not has_last:
        _save(session, Result(state.step))
    if pending:
        evaluate(session)
    elif not session.dataset.validation and not due(session.job.training.eval_every, state.step):
        answer_samples(session)
    session.writer.wait()
    result = result_of(session)
    if result.checkpoint is not None or not (has_last or pending):
        _save(session, result)
    session.saved = result.text()
    with contextlib.suppress(NoRoomError):  # which was logged; the adapter is complete
        checkpoint.save(session)
    if session.plan.measured:
        if result.checkpoint is not None:
            checkpoint.load_weights(session, result.checkpoint)
        measure_divergence(session)
    save_adapter.write_card(session, result)


def step(session: Session) -> StepResult:
    """Do one optimizer step: gradients, clipping, update. Where memory runs out it is repeated in
    smaller passes, from the same random state."""
    random = recovery.random_state(session)
    while True:
        passes = session.plan.passes(session.state.step, session.state.micro_batch)
        try:
            sums = forward_backward(session, passes)
            return update(session, sums, passes)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            recovery.restore(session, random)
            recovery.halve_pass_size(session, passes, error)


def update(session: Session, sums: torch.Tensor, passes: list[Sequence[Example]]) -> StepResult:
    """Clip the gradients and update the weights, unless a number is not finite. `sums` (2,) has the
    step's loss and accuracy."""
    scaler = session.scaler
    scaler.unscale_(session.optimizer)
    parameters = list(session.parameters.values())
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    loss, accuracy, size = torch.cat([sums, norm.float().reshape(1)]).tolist()
    healthy = math.isfinite(loss) and math.isfinite(size)
    checked = not healthy or gradient_health.is_due(session)
    gradients = gradient_health.measure(session) if checked else None
    torch.nn.utils.clip_grads_with_norm_(parameters, session.job.training.max_gradient_norm, norm)
    if healthy or scaler.is_enabled():
        scaler.step(session.optimizer)  # a scaler skips infinite gradients itself
        scaler.update()
        if session.null_space is not None:
            session.null_space.apply()
    session.optimizer.zero_grad(set_to_none=True)
    session.step_profile.mark("optimizer")
    return StepResult(loss, size, passes, healthy, gradients, accuracy)


def forward_backward(session: Session, passes: list[Sequence[Example]]) -> torch.Tensor:
    """Compute the gradients of the step's mean loss per learned token, over all forward passes of
    all processes, and return that loss and the share (0..1) of these tokens that were predicted
    correctly, as the loss weighted by example; shape (2,).

    Retained examples add to the gradients, but not to the returned values, their mean KL divergence
    from the base per token, times `data.retain_weight`.
    """
    taught = [group for group in passes if not group[0].retained]
    total_weight = sum(batching.learned_weight(group) for group in taught)
    total = torch.zeros(2, device=session.device)
    profile = session.step_profile
    if session.learned is not None:
        session.learned.begin_step()
    for group in session.ranks.own_passes(passes):
        batch = session.collate(group)
        profile.mark("data")
        if group[0].retained:
            with session.autocast():
                summed = divergence(session.model, batch, session.forward_mode)
            loss = summed * (session.job.data.retain_weight / _tokens(passes, retained=True))
        else:
            with session.autocast():
                summed, hits = _taught_sums(session, group, batch)
            loss = summed / total_weight
            total += torch.stack([loss.detach(), hits / total_weight])
        profile.mark("forward")
        session.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        profile.mark("backward")
    return session.ranks.all_reduce(total)


def _taught_sums(
    session: Session, group: Sequence[Example], batch: batching.Batch
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sums of a pass's losses, from which the learned answers are counted, and
    of its correct predictions."""
    if session.learned is None:
        return weighted_sum(session.model, batch, session.forward_mode)
    losses = torch.empty(len(batch.targets), device=session.device)
    sums = weighted_sum(session.model, batch, session.forward_mode, token_losses=losses)
    session.learned.note(group, losses.tolist())
    return sums


def _tokens(passes: list[Sequence[Example]], *, retained: bool) -> int:
    """Return the learned tokens of a step's retained examples, or of the others."""
    groups = [group for group in passes if group[0].retained == retained]
    return sum(example.learned_count() for group in groups for example in group)


def due(every: int, step: int) -> bool:
    """Return whether something is due after `step` that is done every `every` steps (0: never)."""
    return every > 0 and step % every == 0
