"""What the engine tells the world: the only writer of the run folder's records."""

from __future__ import annotations

import socket
import time
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from tui_trainer.contracts.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.run import ACTIVE_STATES, ENDED_STATES, Event, RunState, StateName
from tui_trainer.store import atomic
from tui_trainer.store.runs import disk_reserve, process_identity, refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.waiting_lines import WaitingAppender

# How often state.json is replaced while steps fly by, and how many steps the pace is judged by.
STATE_SECONDS = 1.0
PACE_STEPS = 50


class RunReporter:
    """Appends metrics and events, keeps `state.json` true."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._metrics = WaitingAppender(folder.metrics_file)
        self._events = WaitingAppender(folder.events_file)
        self._rows_wait = False
        self._lost_rows = 0  # of which somebody was told
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
        self._announced = ""
        self._written = 0.0
        self._pace: deque[tuple[float, int]] = deque(maxlen=PACE_STEPS)
        self._evaluation_seconds: float | None = None
        self._latest: tuple[TrainRecord, int] | None = None
        self._expected_steps: int | None = None  # fewer than the run's own; None: not known
        self._elapsed = former.elapsed_seconds
        self._running_since: float | None = None

    # -- time that counts --------------------------------------------------------------------

    def start_clock(self, elapsed: float | None = None) -> None:
        """Counts training time from now on, after `elapsed` seconds of earlier sessions."""
        self._elapsed = self.elapsed() if elapsed is None else elapsed
        self._running_since = time.monotonic()

    def stop_clock(self) -> None:
        """Stops counting, for a pause."""
        self._elapsed = self.elapsed()
        self._running_since = None

    def elapsed(self) -> float:
        """Seconds of training so far, without pauses, over all sessions."""
        running = 0.0 if self._running_since is None else time.monotonic() - self._running_since
        return self._elapsed + running

    # -- records -----------------------------------------------------------------------------

    def train_steps(self, records: Sequence[TrainRecord], evaluations_left: int) -> None:
        """Finished optimizer steps, at least one, in order."""
        self._metrics.append_all(records)
        self._pace.extend((record.step_time_ms / 1000.0, record.tokens) for record in records)
        self._latest = (records[-1], evaluations_left)
        self._say_whether_rows_wait()
        if time.monotonic() - self._written >= STATE_SECONDS:
            self.write_state()

    def evaluation(self, record: EvalRecord, seconds: float) -> None:
        """A finished evaluation that took `seconds`."""
        self._metrics.append(record)
        self._say_whether_rows_wait()
        self._evaluation_seconds = seconds

    def event(
        self,
        kind: str,
        step: int,
        message: str = "",
        *,
        id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """A line of `events.jsonl`, on the disk when this returns."""
        self._write_event(
            Event(
                time=time.time(), step=step, kind=kind, message=message, id=id, detail=detail or {}
            )
        )

    def _write_event(self, event: Event) -> None:
        self._events.append(event, durable=True)
        if event.kind == "error" and self._events.waiting:  # why a run ends must be known
            disk_reserve.release(self._folder.path)
            self._events.flush()
        clock = time.strftime("%H:%M:%S")
        print(f"[{clock}] step {event.step} {event.kind}: {event.message}", flush=True)  # noqa: T201

    def _say_whether_rows_wait(self) -> None:
        """An event where metrics begin to wait for room on the disk, and where they are written."""
        if bool(self._metrics.waiting) is self._rows_wait:
            return
        self._rows_wait = not self._rows_wait
        words = "the disk is full: metrics wait in memory until there is room"
        if not self._rows_wait:
            words = f"the disk has room again: the metrics that waited are written{self._lost()}"
        self.event("warning", self.step, words, detail={"alarm": "metrics_room"})

    def _lost(self) -> str:
        """How many rows had to be dropped that nobody was told of yet."""
        lost, self._lost_rows = self._metrics.lost - self._lost_rows, self._metrics.lost
        return f", but for {lost:,} rows, which are lost" if lost else ""

    def _give_up_waiting(self) -> None:
        """At the end of a run: what waits is written with the space that was in reserve."""
        self._events.flush()
        if not self._metrics.flush():
            lost = self._metrics.lost - self._lost_rows + self._metrics.waiting
            words = f"{lost:,} metric rows could not be written: the disk is full"
            self.event("warning", self.step, words, detail={"lost_rows": lost})
        elif lost := self._metrics.lost - self._lost_rows:
            words = f"{lost:,} metric rows could not be written: the disk was full"
            self.event("warning", self.step, words, detail={"lost_rows": lost})
        self._rows_wait, self._lost_rows = False, self._metrics.lost

    # -- state -------------------------------------------------------------------------------

    @property
    def step(self) -> int:
        """The last finished step."""
        self._update()
        return self._state.step

    def total(self, steps: int, epochs: float) -> None:
        """How long the run is."""
        self._update(total_steps=steps, total_epochs=epochs)

    def learned(self, count: int, taught: int, *, steps_left: int) -> None:
        """How many taught answers are learned so far, and about how many steps it will take until
        all are."""
        self._update(learned=count, taught=taught)
        self._expected_steps = self._state.step + steps_left

    def position(
        self, step: int, epoch: float, best_val_loss: float | None, best_step: int | None
    ) -> None:
        """Where the run stands before its first step of this session."""
        self._update(step=step, epoch=epoch, best_val_loss=best_val_loss, best_step=best_step)

    @property
    def found(self) -> RunState | None:
        """The state in which a resume found the run, until this session trains."""
        return self._state.before

    def accept(self) -> None:
        """The resume is not refused any more: from here on an end is this session's own."""
        self._update(before=None)

    def refuse(self, message: str) -> None:
        """Says why the run is not resumed, and puts back the state in which it was found."""
        if self._state.before is not None:
            self._write_event(refused_resume.refusal_event(self._state.before, message))
        self.put_back()

    def put_back(self) -> None:
        """The state in which a resume found the run holds again."""
        if self._state.before is not None:
            self._state = self._state.before
            run_folder.write_state(self._folder, self._state)
            disk_reserve.release(self._folder.path)

    def best(self, val_loss: float, step: int) -> None:
        """The best evaluation so far."""
        self._update(best_val_loss=val_loss, best_step=step)

    def state(self, state: StateName, message: str = "") -> None:
        """Enters a state; said as an event too where it is a new one that lasts."""
        changed = state != self._announced
        self._update(state=state, message=message)
        if state not in ACTIVE_STATES:
            self._update(eta_seconds=None)
        self.write_state()
        if state in ENDED_STATES:
            self._give_up_waiting()
        if changed and state not in ("saving", "evaluating"):
            self._announced = state
            # Why a run failed stands in its error event.
            words = state if state == "failed" else message or state
            self.event("state", self.step, words, detail={"state": state})

    def resume_training(self) -> None:
        """Back to `training` after an evaluation or a save."""
        if self._state.state != "training":
            self._update(state="training", message="")
            self.write_state()

    def write_state(self) -> None:
        """Replaces `state.json`."""
        self._update(updated_at=time.time(), elapsed_seconds=self.elapsed())
        try:
            run_folder.write_state(self._folder, self._state)
        except OSError as error:  # it is written again within a second
            if not atomic.is_full(error):
                raise
        self._written = time.monotonic()

    def close(self) -> None:
        """Flushes and closes the files."""
        self._metrics.close()
        self._events.close()

    def _update(self, **changes: Any) -> None:
        """Changes the state, after what the last step left: worked out only when it is asked
        for, since steps may come faster than anyone looks."""
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
        """Steps left at the median pace of late steps, and evaluations at the last one's.

        Counted from steps alone, so that a pause or the time before a resume cannot spoil it.
        """
        if self._state.total_steps is None or not self._pace:
            return None
        pace = median(item[0] for item in self._pace)
        evaluations = evaluations_left * (self._evaluation_seconds or 0.0)
        total = min(self._state.total_steps, self._expected_steps or self._state.total_steps)
        return max(0, total - step) * pace + evaluations
