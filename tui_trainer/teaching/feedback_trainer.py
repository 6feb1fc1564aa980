"""The teacher: watches the feedback, trains in the background, lets the result go live."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import RatedExample
from tui_trainer.contracts.teaching import TeachingSettings, TrainingRecord
from tui_trainer.store import paths
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.teaching import trigger
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.model_client import TeachingModel
from tui_trainer.teaching.training_queue import (
    OPEN_STATES,
    UNLEARNED_STATES,
    QueueEntry,
    TrainerLock,
    TrainingQueue,
)
from tui_trainer.teaching.training_rows import teachable
from tui_trainer.teaching.training_task import TrainingTask
from tui_trainer.teaching.trigger import BufferState

# How often feedback and a free seat are looked for without being told.
LOOK_SECONDS = 2.0
_POLL_SECONDS = 0.05
_LETTERS = "bcdfghjkmnpqrstvwxz"


class FeedbackTrainer:
    """Turns waiting examples into trainings, one at a time, from a thread of its own.

    One session per home folder teaches (`teaching`); others show the trainings. What is under
    way when a session goes is carried on by the next. `on_change` is called from that thread
    whenever trainings or buffer may look different.
    """

    def __init__(
        self,
        client: TeachingModel,
        feedback: FeedbackStore,
        adapters: AdapterStore,
        *,
        settings: Callable[[], TeachingSettings],
        runs_dir: Path,
        on_change: Callable[[], None] = lambda: None,
        trust_remote_code: bool = False,
        folder: Path | None = None,
        command: Sequence[str] | None = None,
    ) -> None:
        """`trust_remote_code` as for the client. `folder` holds the journal (`teaching` in the
        home folder); `command` stands in for
        the engine's command line."""
        journal = TrainingQueue(folder or paths.home() / "teaching")
        self._desk = TeachingContext(
            client=client,
            feedback=feedback,
            adapters=adapters,
            journal=journal,
            settings=settings,
            runs_dir=runs_dir,
            on_change=on_change,
            trust_remote_code=trust_remote_code,
            command=command,
        )
        self._seat = TrainerLock(journal.folder)
        self._wake = threading.Event()
        self._lock = threading.RLock()  # around reading the journal and writing what follows
        self._busy = False
        self._thread: threading.Thread | None = None
        self.problem: str | None = None
        """Why nothing can be taught at the moment, such as a full disk."""

    # -- the session -------------------------------------------------------------------------

    def start(self) -> None:
        """Begins to watch, and carries on what an earlier session left; returns at once."""
        self._wake.set()
        self._thread = threading.Thread(target=self._work, name="teacher", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the watching; a training that runs is left running."""
        self._desk.left.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=5.0)
        self._seat.leave()

    @property
    def teaching(self) -> bool:
        """Whether this session is the one that teaches; another may have the home folder."""
        return self._seat.taken

    # -- what there is -----------------------------------------------------------------------

    def trainings(self) -> list[TrainingRecord]:
        """Every training, oldest first, with the steps that a running one has done."""
        return [_with_steps(entry.record) for entry in self._desk.journal.entries()]

    def buffer(self) -> BufferState:
        """How far the waiting examples are from the next training."""
        return trigger.buffer_state(self._waiting(), self._desk.examples(), self._desk.settings())

    # -- what is wanted ----------------------------------------------------------------------

    def poke(self) -> None:
        """Says that feedback or settings changed; returns at once."""
        self._wake.set()

    def train_now(self) -> TrainingRecord:
        """Queues a training of everything that waits. Raises `UserError`."""
        with self._lock:
            self._must_teach()
            waiting = self._waiting()
            if not waiting:
                raise UserError(self._nothing_waits())
            record = self._queue(waiting)
        self._wake.set()
        return record

    def cancel(self, training_id: str) -> None:
        """Ends a queued or running training; its examples keep waiting. Raises `UserError`."""
        with self._lock:
            self._must_teach()
            entry = self._desk.journal.get(training_id)
            if entry.record.state not in OPEN_STATES:
                raise UserError(f"training {training_id} is {entry.record.state} already")
            self._desk.ended_by_user.add(training_id)
        self._wake.set()

    def override(self, training_id: str) -> TrainingRecord:
        """Lets a refused adapter go live all the same. Raises `UserError`."""
        with self._lock:
            self._must_teach()
            entry = self._desk.journal.get(training_id)
            record = entry.record
            if record.state != "refused":
                raise UserError(f"training {training_id} is {record.state}; it was not refused")
            free = {example.id for example in self._waiting()}
            taken = [name for name in record.examples if name not in free]
            if taken:
                raise UserError(
                    f"training {training_id} cannot go live any more: its examples "
                    f"({', '.join(taken)}) were learned, dropped or queued since"
                )
            record = msgspec.structs.replace(
                record, state="checking", ended_at=None, message="let through by the user"
            )
            self._desk.put(msgspec.structs.replace(entry, record=record, overridden=True))
        self._wake.set()
        return record

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until nothing is queued or running; gives False after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._settled():
            if deadline is not None and time.monotonic() >= deadline:
                return False
            if self._desk.left.wait(_POLL_SECONDS):
                return self._settled()
        return True

    # -- the thread --------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._desk.left.is_set():
            self._wake.wait(LOOK_SECONDS)
            with self._lock:
                self._busy = True
                self._wake.clear()
            try:
                self._turn()
                self._tell(None)
            except UserError as error:
                self._tell(str(error))
            finally:
                self._busy = False

    def _tell(self, problem: str | None) -> None:
        if problem != self.problem:
            self.problem = problem
            self._desk.on_change()

    def _turn(self) -> None:
        """Works until there is nothing left to do."""
        if not self._seat.taken and self._seat.take():
            self._desk.on_change()
        while self._seat.taken and not self._desk.left.is_set():
            entry = self._next()
            if entry is None:
                return
            if entry.record.state == "queued" and entry.record.id in self._desk.ended_by_user:
                self._cancel_queued(entry)
            else:
                TrainingTask(self._desk, entry).run()

    def _next(self) -> QueueEntry | None:
        """What is under way, else the next of the queue, else what the trigger starts."""
        with self._lock:
            entries = self._open()
            under_way = [entry for entry in entries if entry.record.state != "queued"]
            for entry in (*under_way, *entries):
                return entry
            waiting = self._waiting()
            buffer = trigger.buffer_state(waiting, [], self._desk.settings())
            if trigger.due(buffer, waiting, self._tried()):
                return self._desk.journal.get(self._queue(waiting).id)
            return None

    def _cancel_queued(self, entry: QueueEntry) -> None:
        record = msgspec.structs.replace(
            entry.record, state="cancelled", ended_at=time.time(), message="cancelled"
        )
        self._desk.put(msgspec.structs.replace(entry, record=record))
        self._desk.ended_by_user.discard(record.id)

    def _queue(self, waiting: Sequence[RatedExample]) -> TrainingRecord:
        record = TrainingRecord(
            id=f"{time.strftime('%m%d')}-{''.join(secrets.choice(_LETTERS) for _ in range(4))}",
            state="queued",
            created_at=time.time(),
            examples=[example.id for example in waiting],
        )
        self._desk.put(QueueEntry(record=record))
        return record

    def _open(self) -> list[QueueEntry]:
        return [e for e in self._desk.journal.entries() if e.record.state in OPEN_STATES]

    def _waiting(self) -> list[RatedExample]:
        """Pending examples that no training under way or queued has taken."""
        frozen = {name for entry in self._open() for name in entry.record.examples}
        pending = [e for e in self._desk.examples() if e.pending and teachable(e)]
        return [example for example in pending if example.id not in frozen]

    def _tried(self) -> set[str]:
        entries = self._desk.journal.entries()
        ended = [e.record for e in entries if e.record.state in UNLEARNED_STATES]
        return {name for record in ended for name in record.examples}

    def _settled(self) -> bool:
        with self._lock:
            return not (self._open() or self._busy or self._wake.is_set())

    def _must_teach(self) -> None:
        if not self._seat.take():
            raise UserError(
                "another tui-trainer session does the teaching for this home folder; "
                "ask there, or close it", 1,
            )  # fmt: skip

    def _nothing_waits(self) -> str:
        lacking = sum(example.needs_correction for example in self._desk.examples())
        if lacking:
            return (
                f"nothing to train on: {lacking} rated answers still need a correction (/fix TEXT)"
            )
        if self._open():
            return "nothing to train on: all feedback is in a training already"
        return "nothing to train on: rate an answer (/good) or correct one (/fix TEXT) first"


def _with_steps(record: TrainingRecord) -> TrainingRecord:
    if record.state != "training" or record.run_path is None:
        return record
    state = RunFolder(Path(record.run_path)).state()
    if state is None:
        return record
    return msgspec.structs.replace(
        record, step=state.step, total_steps=state.total_steps, message=state.message
    )
