"""Progress of an evaluation in `state.json`, and its cancellation by the user."""

from __future__ import annotations

import time

import torch

from tui_trainer.contracts.runs.run import CommandName
from tui_trainer.engine.state.session import Session
from tui_trainer.text import formats

COMMAND: CommandName = "skip-evaluation"
REPORT_SECONDS = 0.5  # between two reports, each of which also looks for commands


class EvaluationCancelledError(Exception):
    """The command `skip-evaluation` ended an evaluation before it was complete."""


class ValidationProgress:
    """Counts the examples of one evaluation that are done in this process.

    The leader decides that an evaluation is cancelled; each process stops after a pass, and all of
    them agree on it before they add up their parts.
    """

    def __init__(self, session: Session, passes: int, examples: int) -> None:
        """`passes` are those of this process, of all `examples` of the evaluation."""
        self._session = session
        self._passes, self._examples = passes, examples
        self._done_passes = self._done = 0
        self._loss = self._weight = 0.0
        self._stopped = False
        self._started = self._reported = time.monotonic()

    def add(self, examples: int, loss: torch.Tensor, weight: float) -> bool:
        """Count a finished pass of `examples` with the weighted sum of their losses (nats), and
        report at intervals. Return whether the evaluation goes on."""
        self._done_passes += 1
        self._done += examples if weight else 0  # a pass that was added to wait for others
        self._loss += float(loss)
        self._weight += weight
        now = time.monotonic()
        is_due = now - self._reported >= REPORT_SECONDS
        if is_due:
            self._reported = now
            self._session.report.set_state("evaluating", self.text(now - self._started))
        wanted = is_due and self._session.control.next_of(COMMAND) is not None
        self._stopped = self._session.ranks.stops_early(wanted, look=is_due)
        return not self._stopped

    def end(self) -> None:
        """End the evaluation's passes, in all processes together. Raises
        `EvaluationCancelledError`."""
        session = self._session
        if not session.ranks.agree_on_stop(self._stopped):
            return
        done = int(session.ranks.sum(torch.tensor([self._done])))
        step = session.state.step
        message = (
            f"evaluation at step {formats.count(step)} cancelled after {formats.count(done)} "
            f"of {formats.plural(self._examples, 'example')}; training continues"
        )
        for command in session.control.take(COMMAND):  # other processes than the leader have none
            detail = {"command": command.command, "accepted": True}
            session.report.event("command", step, message, id=command.id, detail=detail)
        raise EvaluationCancelledError

    def text(self, seconds: float) -> str:
        """Return how much is done after `seconds`, how fast, the loss so far and the time left."""
        share = self._done_passes / self._passes
        total = self._examples if self._session.ranks.process.size == 1 else None
        done = f"{formats.count(self._done)} of {formats.count(total)}" if total else (
            f"{formats.share(share)} of {formats.count(self._examples)}"
        )  # fmt: skip
        speed = formats.number(self._done / seconds if seconds else None, 3)
        loss = formats.number(self._loss / self._weight if self._weight else None)
        left = formats.duration(seconds * (1 - share) / share)
        return f"{done} examples evaluated, {speed}/s, loss so far {loss}, {left} left"
