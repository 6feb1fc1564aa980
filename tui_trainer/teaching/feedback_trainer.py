"""Trains on feedback in the background and activates the resulting adapters."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample
from tui_trainer.contracts.teaching.training import (
    OPEN_STATES,
    BufferState,
    TeachingSettings,
    TrainingNews,
    TrainingRecord,
)
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.teaching import trigger
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.model_client import TeachingModel
from tui_trainer.teaching.training_queue import (
    UNLEARNED_STATES,
    QueueEntry,
    TrainerLock,
    TrainingQueue,
    with_progress,
)
from tui_trainer.teaching.training_rows import teachable
from tui_trainer.teaching.training_task import TrainingTask

# How often feedback and the trainer lock are checked without a call of `wake`.
LOOK_SECONDS = 2.0
_POLL_SECONDS = 0.05
_LETTERS = "bcdfghjkmnpqrstvwxz"


class FeedbackTrainer:
    """Turns pending examples into trainings, one at a time, in a thread of its own.

    Only one session per home folder trains (`teaching`); others show the trainings. A training
    that is unfinished when a session ends is resumed by the next. `on_change` receives what has
    changed, from the thread or from the caller of a request.
    """

    def __init__(
        self,
        client: TeachingModel,
        feedback: FeedbackStore,
        adapters: AdapterStore,
        *,
        settings: Callable[[], TeachingSettings],
        runs_dir: Path,
        on_change: Callable[[TrainingNews], None] = lambda _news: None,
        trust_remote_code: bool = False,
        folder: Path | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """`trust_remote_code` as for the client. `folder` holds the queue (default: `teaching` in
        the home folder); `command` replaces the engine's command line (in tests)."""
        queue = TrainingQueue(folder or paths.home() / "teaching")
        self._context = TeachingContext(
            client=client,
            feedback=feedback,
            adapters=adapters,
            queue=queue,
            settings=settings,
            runs_dir=runs_dir,
            on_record=self._report,
            on_notice=lambda text: self._report(notice=text),
            trust_remote_code=trust_remote_code,
            command=command,
        )
        self._on_change = on_change
        self._trainer_lock = TrainerLock(queue.folder)
        self._wake = threading.Event()
        self._lock = threading.RLock()  # around reading the queue and writing to it
        self._busy = False
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        """Why nothing can be trained at the moment, such as a full disk, or None."""

    # -- the session -------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the thread, which resumes what an earlier session left; returns at once."""
        self._wake.set()
        self._thread = threading.Thread(target=self._work, name="feedback trainer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops the thread; a running training keeps running."""
        self._context.stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._trainer_lock.release()

    @property
    def teaching(self) -> bool:
        """Whether this session is the one that trains for the home folder."""
        return self._trainer_lock.held

    # -- state -------------------------------------------------------------------------------

    def trainings(self) -> list[TrainingRecord]:
        """Every training, oldest first, with the progress of a running one."""
        return [with_progress(entry.record) for entry in self._context.queue.entries()]

    def buffer(self) -> BufferState:
        """How far the pending examples are from starting a training."""
        return trigger.buffer_state(
            self._waiting(), self._context.examples(), self._context.settings()
        )

    # -- requests ----------------------------------------------------------------------------

    def wake(self) -> None:
        """Makes the thread look at feedback and settings without delay; returns at once."""
        self._wake.set()

    def train_now(self) -> TrainingRecord:
        """Queues a training on all pending examples. Raises `UserError`."""
        with self._lock:
            self._require_lock()
            waiting = self._waiting()
            if not waiting:
                raise UserError(self._nothing_to_train())
            record = self._queue(waiting)
        self._wake.set()
        return record

    def cancel(self, training_id: str) -> None:
        """Cancels a queued or running training; its examples stay pending. Raises `UserError`."""
        with self._lock:
            self._require_lock()
            entry = self._context.queue.get(training_id)
            if entry.record.state not in OPEN_STATES:
                raise UserError(f"training {training_id} has already ended: {entry.record.state}")
            self._context.cancelled_ids.add(training_id)
        self._wake.set()

    def override(self, training_id: str) -> TrainingRecord:
        """Activates the adapter of a refused training. Raises `UserError`."""
        with self._lock:
            self._require_lock()
            entry = self._context.queue.get(training_id)
            record = entry.record
            if record.state != "refused":
                raise UserError(
                    f"training {training_id} was not refused: its state is {record.state}"
                )
            free = {example.id for example in self._waiting()}
            taken = [name for name in record.examples if name not in free]
            if taken:
                raise UserError(
                    f"the adapter of training {training_id} cannot be activated: its examples "
                    f"({', '.join(taken)}) were learned, dropped or queued since"
                )
            record = msgspec.structs.replace(
                record, state="checking", ended_at=None, message="overridden by the user"
            )
            self._context.put(msgspec.structs.replace(entry, record=record, overridden=True))
        self._wake.set()
        return record

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until nothing is queued or running; returns False after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._settled():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if self._context.stopping.wait(_POLL_SECONDS):
                return self._settled()
        return True

    # -- the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._context.stopping.is_set():
            self._wake.wait(LOOK_SECONDS)
            with self._lock:
                self._busy = True
                self._wake.clear()
            try:
                self._process_queue()
                self._set_problem(None)
            except UserError as error:
                self._set_problem(str(error))
            finally:
                self._busy = False

    def _set_problem(self, problem: str | None) -> None:
        if problem != self.problem:
            self.problem = problem
            self._report()

    def _report(self, record: TrainingRecord | None = None, notice: str | None = None) -> None:
        news = TrainingNews(
            record=record, buffer=self.buffer(), problem=self.problem, notice=notice
        )
        self._on_change(news)

    def _process_queue(self) -> None:
        """Processes trainings until the queue is empty."""
        if not self._trainer_lock.held and self._trainer_lock.acquire():
            self._report()
        while self._trainer_lock.held and not self._context.stopping.is_set():
            entry = self._next()
            if entry is None:
                return
            if entry.record.state == "queued" and entry.record.id in self._context.cancelled_ids:
                self._cancel_queued(entry)
            else:
                TrainingTask(self._context, entry).run()

    def _next(self) -> QueueEntry | None:
        """The running training, else the next queued one, else one that the trigger starts."""
        with self._lock:
            entries = self._open()
            under_way = [entry for entry in entries if entry.record.state != "queued"]
            for entry in (*under_way, *entries):
                return entry
            waiting = self._waiting()
            buffer = trigger.buffer_state(waiting, [], self._context.settings())
            if trigger.due(buffer, waiting, self._tried_examples()):
                return self._context.queue.get(self._queue(waiting).id)
            return None

    def _cancel_queued(self, entry: QueueEntry) -> None:
        record = msgspec.structs.replace(
            entry.record, state="cancelled", ended_at=time.time(), message="cancelled"
        )
        self._context.put(msgspec.structs.replace(entry, record=record))
        self._context.cancelled_ids.discard(record.id)

    def _queue(self, waiting: Sequence[RatedExample]) -> TrainingRecord:
        record = TrainingRecord(
            id=f"{time.strftime('%m%d')}-{''.join(secrets.choice(_LETTERS) for _ in range(4))}",
            state="queued",
            created_at=time.time(),
            examples=[example.id for example in waiting],
        )
        self._context.put(QueueEntry(record=record))
        return record

    def _open(self) -> list[QueueEntry]:
        return [e for e in self._context.queue.entries() if e.record.state in OPEN_STATES]

    def _waiting(self) -> list[RatedExample]:
        """Pending examples that are in no queued or running training."""
        taken = {name for entry in self._open() for name in entry.record.examples}
        pending = [e for e in self._context.examples() if e.pending and teachable(e)]
        return [example for example in pending if example.id not in taken]

    def _tried_examples(self) -> set[str]:
        entries = self._context.queue.entries()
        ended = [e.record for e in entries if e.record.state in UNLEARNED_STATES]
        return {name for record in ended for name in record.examples}

    def _settled(self) -> bool:
        with self._lock:
            return not (self._open() or self._busy or self._wake.is_set())

    def _require_lock(self) -> None:
        if not self._trainer_lock.acquire():
            raise UserError(
                "another tui-trainer session trains for this home folder; use that session, or "
                "close it", 1,
            )  # fmt: skip

    def _nothing_to_train(self) -> str:
        uncorrected = sum(example.needs_correction for example in self._context.examples())
        if uncorrected:
            answers = "rated answer needs" if uncorrected == 1 else "rated answers need"
            return f"nothing to train on: {uncorrected} {answers} a correction (/fix TEXT)"
        if self._open():
            return "nothing to train on: all feedback is in a training already"
        return "nothing to train on: rate an answer (/good) or correct one (/fix TEXT) first"
