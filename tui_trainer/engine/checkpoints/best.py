"""The best evaluation's checkpoint: kept in agreement with the training state, and the result."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.contracts.runs.run import BestEvaluation
from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.state.session import Session
from tui_trainer.store.runs import checkpoint_scores, checkpoints
from tui_trainer.text.formats import count, number


@dataclass(frozen=True)
class Result:
    """The weights that a run gives as its adapter."""

    step: int  # finished steps
    checkpoint: Path | None = None  # that has them; None: the session's own weights
    best: BestEvaluation | None = None  # None: the last step, not the best one

    def text(self) -> str:
        """The step and why it is this one."""
        if self.best is None:
            return f"step {count(self.step)}, the last"
        value = f"{self.best.metric} {number(self.best.value)}"
        return f"step {count(self.step)}, the best ({value})"


def result_of(session: Session) -> Result:
    """Return which weights the adapter gets: those of the best evaluation whose checkpoint is
    complete; the last ones where the job asks for them or nothing was evaluated."""
    settings, state = session.job.training, session.state
    last = Result(state.step)
    if settings.save == "last" or settings.stop_when_learned:
        return last
    settle(session)
    best = state.best
    if best is None:
        return last
    if best.step == state.step:
        return Result(state.step, None, best)
    return Result(best.step, _folder(session, best.step), best)


def settle(session: Session) -> None:
    """Make `state.best` an evaluation whose weights are there, to which `checkpoints/best` points.

    After a rollback or a resume they may have been superseded or deleted. Then the best of the
    remaining evaluations takes their place, which is logged.
    """
    run, state = session.folder, session.state
    former = state.best or _before(session)
    state.best = former
    if former is not None and former.step != state.step and not _complete(session, former.step):
        state.best = _best_of(session, _remaining(session))
        _log(session, former)
    if state.best is not former and session.metric.name == "val_loss":
        best = state.best
        state.best_val_loss, state.best_step = (best.value, best.step) if best else (None, None)
    if state.best is None:
        checkpoints.forget_best(run)
    elif _folder(session, state.best.step).is_dir():
        point(session, state.best.step)
    session.report.set_best(state.best_val_loss, state.best_step, state.best)


def point(session: Session, step: int) -> None:
    """Make `checkpoints/best` point at the checkpoint of `step`; log where the disk is full."""
    name = checkpoints.checkpoint_name(step)
    if checkpoints.best_name(session.folder) == name:
        return
    try:
        checkpoints.point_best(session.folder, name)
    except OSError as error:
        if not disk_space.is_full(error):
            raise
        message = f"the disk is full: the link `best` could not be moved to {name}"
        session.report.event("warning", step, message)


def _before(session: Session) -> BestEvaluation | None:
    """The best evaluation in a state that an earlier version wrote, which had no `best`."""
    state = session.state
    if state.best_val_loss is None or state.best_step is None:
        return None
    if session.metric.name == "val_loss" and not session.metric.higher:
        return BestEvaluation(metric="val_loss", value=state.best_val_loss, step=state.best_step)
    return _best_of(session, _remaining(session))


def _remaining(session: Session) -> Iterable[tuple[int, dict[str, float]]]:
    """Step and scores of every evaluation whose weights are there, the oldest first."""
    state = session.state
    for step, folder in checkpoints.list_checkpoints(session.folder):
        if step < state.step and checkpoints.problem(folder) is None:
            yield step, checkpoint_scores.read(session.folder, folder)
    if state.evaluated_step == state.step:
        yield state.step, state.scores


def _best_of(
    session: Session, evaluations: Iterable[tuple[int, dict[str, float]]]
) -> BestEvaluation | None:
    metric, best = session.metric, None
    for step, scores in evaluations:
        value = scores.get(metric.name)
        if value is not None and (best is None or metric.gain(value, best.value) > 0):
            best = BestEvaluation(metric=metric.name, value=value, step=step)
    return best


def _folder(session: Session, step: int) -> Path:
    return session.folder.checkpoints_dir / checkpoints.checkpoint_name(step)


def _complete(session: Session, step: int) -> bool:
    return checkpoints.problem(_folder(session, step)) is None


def _log(session: Session, former: BestEvaluation) -> None:
    best = session.state.best
    now = "there is none now"
    if best is not None:
        now = f"the best is now step {count(best.step)} ({best.metric} {number(best.value)})"
    session.report.event(
        "warning",
        session.state.step,
        f"the weights of step {count(former.step)}, the best evaluation ({former.metric} "
        f"{number(former.value)}), are not kept in a checkpoint: {now}",
    )
