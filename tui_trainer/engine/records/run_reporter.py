"""Writes the run folder's records: metrics, events and state."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import (
    ACTIVE_STATES,
    ENDED_STATES,
    BestEvaluation,
    Event,
    RunState,
    StateName,
)
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve, process_identity, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.waiting_lines import WaitingAppender
from tui_trainer.text.formats import plural

STATE_SECONDS = 1.0  # between writes of state.json during quick steps
PACE_STEPS = 50  # that time remaining and tokens per second are computed from


class RunReporter:
    """Appends metrics and events, and keeps `state.json` up to date. The only writer of these files
    while the engine trains."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._metrics = WaitingAppender(folder.metrics_file)
        self._events = WaitingAppender(folder.events_file)
        self._samples: WaitingAppender | None = None  # opened when there is something to write
        self._rows_wait = False  # whether metrics wait for disk space, which was logged
        self._lost_rows = 0  # rows whose loss was logged
        former = folder.state() or RunState(state="idle")
        self._state = msgspec.structs.replace(
            former,
            state="preparing",
            **process_identity.own_identity(),
            host=socket.gethostname(),
            eta_seconds=None,
            tokens_per_second=None,
            before=refused_resume.as_found(former),
        )
        self._logged_state = ""
        self._written_at = 0.0
        self._pace: deque[tuple[float, int]] = deque(maxlen=PACE_STEPS)
        self._evaluation_seconds: float | None = None
        self._latest: tuple[TrainRecord, int] | None = None
        self._expected_steps: int | None = None  # fewer than the run's own; None: not known
        self._elapsed = former.elapsed_seconds
        self._running_since: float | None = None

    # -- training time -----------------------------------------------------------------------

    def start_clock(self, elapsed: float | None = None) -> None:
        """Start counting training time, after `elapsed` seconds of earlier sessions."""
        self._elapsed = self.elapsed() if elapsed is None else elapsed
        self._running_since = time.monotonic()

    def stop_clock(self) -> None:
        """Stop counting training time, for a pause."""
        self._elapsed = self.elapsed()
        self._running_since = None

    def elapsed(self) -> float:
        """Return the seconds of training so far, without pauses, over all sessions."""
        running = 0.0 if self._running_since is None else time.monotonic() - self._running_since
        return self._elapsed + running

    # -- records -----------------------------------------------------------------------------

    def train_steps(self, records: Sequence[TrainRecord], evaluations_left: int) -> None:
        """Write the records of finished optimizer steps, at least one, in order."""
        self._metrics.append_all(records)
        self._pace.extend((record.step_time_ms / 1000.0, record.tokens) for record in records)
        self._latest = (records[-1], evaluations_left)
        self._log_whether_rows_wait()
        if time.monotonic() - self._written_at >= STATE_SECONDS:
            self.write_state()

    def evaluation(self, record: EvalRecord, seconds: float) -> None:
        """Write the record of an evaluation that took `seconds`."""
        self._metrics.append(record)
        self._log_whether_rows_wait()
        self._evaluation_seconds = seconds

    def samples(self, records: Sequence[SampleRecord]) -> None:
        """Write the answers to the sample prompts at one evaluation."""
        if self._samples is None:
            self._samples = WaitingAppender(self._folder.samples_file)
        self._samples.append_all(records)

    def event(
        self,
        kind: str,
        step: int,
        message: str = "",
        *,
        id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Append a line to `events.jsonl`; it is on the disk when this returns."""
        self._write_event(
            Event(
                time=time.time(), step=step, kind=kind, message=message, id=id, detail=detail or {}
            )
        )

    def _write_event(self, event: Event) -> None:
        self._events.append(event, durable=True)
        if event.kind == "error" and self._events.waiting:  # it has the reason why the run ends
            disk_reserve.release(self._folder.path)
            self._events.flush()
        clock = time.strftime("%H:%M:%S")
        message, kind = event.message, event.kind.replace("_", " ")
        if not message.startswith(kind):
            message = f"{kind}: {message}"
        print(f"[{clock}] step {event.step} {message}", flush=True)  # noqa: T201

    def _log_whether_rows_wait(self) -> None:
        """Log when metrics start to wait for disk space, and when they are written."""
        if bool(self._metrics.waiting) is self._rows_wait:
            return
        self._rows_wait = not self._rows_wait
        message = "the disk is full: metrics wait in memory until there is room"
        if not self._rows_wait:
            lost, self._lost_rows = self._metrics.lost - self._lost_rows, self._metrics.lost
            message = "the disk has room again: the waiting metrics are written"
            if lost:
                message += f", except {plural(lost, 'row')} for which there was no memory"
        self.event("warning", self.step, message, detail={"alarm": "metrics_room"})

    def _write_waiting(self) -> None:
        """Write the waiting lines at the end of a run, and log how many rows are lost."""
        self._events.flush()
        if self._samples is not None and not self._samples.flush():
            lines = plural(self._samples.waiting, "line")
            message = f"{lines} of samples.jsonl could not be written: the disk is full"
            self.event("warning", self.step, message)
        written = self._metrics.flush()
        lost = self._metrics.lost - self._lost_rows + self._metrics.waiting
        if lost:
            state = "was" if written else "is"
            message = f"{plural(lost, 'metric row')} could not be written: the disk {state} full"
            self.event("warning", self.step, message, detail={"lost_rows": lost})
        self._rows_wait, self._lost_rows = False, self._metrics.lost

    # -- state -------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The number of finished steps."""
        self._update()
        return self._state.step

    def set_total(self, steps: int, epochs: float) -> None:
        """Set the length of the run."""
        self._update(total_steps=steps, total_epochs=epochs)

    def set_learned(self, count: int, taught: int, *, steps_left: int) -> None:
        """Set how many of the taught answers are learned so far, and about how many steps it takes
        until all are."""
        self._update(learned=count, taught=taught)
        self._expected_steps = self._state.step + steps_left

    def set_position(self, step: int, epoch: float) -> None:
        """Set the position of the run before the first step of this session, or after a
        rollback."""
        self._update(step=step, epoch=epoch)

    @property
    def state_before(self) -> RunState | None:
        """The state of the run before this resume, until `accept_resume`; else None."""
        return self._state.before

    def accept_resume(self) -> None:
        """Accept the resume: from now on the run ends in a state of this session."""
        self._update(before=None)

    def refuse_resume(self, message: str, **detail: Any) -> None:
        """Log why the run is not resumed, and restore the state before."""
        if self._state.before is not None:
            self._write_event(refused_resume.refusal_event(self._state.before, message, detail))
        self.restore_state()

    def restore_state(self) -> None:
        """Restore the state that the run had before this resume."""
        if self._state.before is not None:
            self._state = self._state.before
            run_folder.write_state(self._folder, self._state)
            disk_reserve.release(self._folder.path)

    def set_best(
        self, val_loss: float | None, step: int | None, best: BestEvaluation | None
    ) -> None:
        """Set the lowest validation loss so far (nats) with its step, and the best evaluation."""
        self._update(best_val_loss=val_loss, best_step=step, best=best)

    def set_saved(self, step: int) -> None:
        """Set the step of the weights in `adapter/`."""
        self._update(saved_step=step)

    def set_state(self, state: StateName, message: str = "") -> None:
        """Change the state and write it. A new state, but for short ones, is logged as an event."""
        changed = state != self._logged_state
        self._update(state=state, message=message)
        if state not in ACTIVE_STATES:
            self._update(eta_seconds=None)
        self.write_state()
        if state in ENDED_STATES:
            self._write_waiting()
        if changed and state not in ("saving", "evaluating"):
            self._logged_state = state
            # The error event has the reason of a failure.
            text = state if state == "failed" else message or state
            self.event("state", self.step, text, detail={"state": state})

    def resume_training(self) -> None:
        """Return to the state `training` after an evaluation or a save."""
        if self._state.state != "training":
            self._update(state="training", message="")
            self.write_state()

    def write_state(self) -> None:
        """Write `state.json`."""
        self._update(updated_at=time.time(), elapsed_seconds=self.elapsed())
        try:
            run_folder.write_state(self._folder, self._state)
        except OSError as error:  # it is written again within a second
            if not atomic.is_full(error):
                raise
        self._written_at = time.monotonic()

    def close(self) -> None:
        """Flush and close the files."""
        self._metrics.close()
        if self._samples is not None:
            self._samples.close()
        self._events.close()

    def _update(self, **changes: Any) -> None:
        """Change the state, after the changes that follow from the last step. Those are computed
        only here, since most states between quick steps are never read."""
        if self._latest is not None:
            (record, evaluations_left), self._latest = self._latest, None
            seconds = sum(item[0] for item in self._pace)
            tokens = sum(item[1] for item in self._pace)
            self._state = msgspec.structs.replace(
                self._state,
                step=record.step,
                epoch=record.epoch,
                tokens_per_second=tokens / seconds if seconds else None,
                eta_seconds=self._eta(record.step, evaluations_left),
            )
        self._state = msgspec.structs.replace(self._state, **changes)

    def _eta(self, step: int, evaluations_left: int) -> float | None:
        """Return the remaining seconds: steps at the median time of the last ones, evaluations at
        the time of the last one. Pauses and the time before a resume do not count."""
        if self._state.total_steps is None or not self._pace:
            return None
        pace = median(item[0] for item in self._pace)
        evaluations = evaluations_left * (self._evaluation_seconds or 0.0)
        total = min(self._state.total_steps, self._expected_steps or self._state.total_steps)
        return max(0, total - step) * pace + evaluations
