"""Slash commands that start, follow and cancel trainings."""

from __future__ import annotations

import contextlib
import threading
import time

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.training import OPEN_STATES, TrainingNews, TrainingRecord
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import progress, result_table, training_table
from tui_trainer.teaching.time_limit import LEAST_SECONDS
from tui_trainer.text import formats

FAILED_STATES = ("refused", "failed", "cancelled")
_SHOWN = 10  # trainings in the table
_WAIT_SECONDS = 0.1
_PROGRESS_SECONDS = 5.0  # least time between two lines of progress


class TrainingCommands:
    """`/train /training /override /cancel`, and events about trainings."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._emitted: dict[str, TrainingRecord] = {}  # the last of each training
        self._problem: str | None = None

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {
            "train": self._train,
            "training": self._training,
            "override": self._override,
            "cancel": self._cancel,
        }

    def emit_changes(self, news: TrainingNews) -> None:
        """Emit what is new; called by the trainer from any thread."""
        context, record = self._context, news.record
        with self._lock:
            before = None
            if record is not None:
                before = self._emitted.get(record.id)
                self._emitted[record.id] = record
            problem_changed = news.problem not in (None, self._problem)
            self._problem = news.problem
        if record is not None and record != before:
            context.emit(events.TrainingStatus(record=record))
            if before is not None and _is_limit_raised(before, record):
                context.emit_notice(
                    f"training {record.id}: its steps are slow, so that its time limit is "
                    f"{formats.duration(record.limit_seconds)}"
                )
            if record.state == "live" and (before is None or before.state != "live"):
                context.emit(events.AdaptersActivated(adapters=context.adapters.live(context.base)))
        if news.notice is not None:
            context.emit_notice(news.notice)
        context.emit_buffer(news.buffer)
        if problem_changed and news.problem is not None:
            context.emit(events.SessionError(text=news.problem))

    def _train(self, command: SlashCommand) -> None:
        if command.arguments:
            raise command.usage()
        try:
            self._context.trainer.train_now()
        except UserError:
            # Not an error: reaching the threshold may just have started a training on all of it.
            if not self._open():
                raise
            self._context.emit_notice("all feedback is in a training already; /training shows it")

    def _training(self, command: SlashCommand) -> None:
        if command.arguments not in ([], ["wait"]):
            raise command.usage()
        if command.arguments:
            self._wait()
            return
        self._context.emit_buffer()
        records = self._context.trainer.trainings()
        if records:
            self._context.emit(training_table(records[-_SHOWN:]))
        else:
            self._context.emit_notice("no training yet; /train starts one on the pending feedback")
        if self._context.trainer.problem is not None:
            self._context.emit(events.SessionError(text=self._context.trainer.problem))

    def _wait(self) -> None:
        """Wait until no training is left, and emit the progress whenever it has changed, but not
        more often than every `_PROGRESS_SECONDS`."""
        context = self._context
        waited_for = set(self._open())
        shown, due = "", 0.0
        while not context.trainer.wait(_WAIT_SECONDS):
            waited_for |= set(self._open())
            now = time.monotonic()
            if now >= due:
                text = self._progress()
                if text and text != shown:
                    context.emit_notice(text)
                    shown, due = text, now + _PROGRESS_SECONDS
            if context.cancelled.is_set():
                context.emit_notice("no longer waiting; the training continues")
                return
        ended = [record for record in context.trainer.trainings() if record.id in waited_for]
        for record in ended:
            context.emit(self._result(record))
        if not ended:
            context.emit_notice("no training is queued or running")
        failed = [record for record in ended if record.state in FAILED_STATES]
        if failed:
            raise UserError("; ".join(_outcome_text(record) for record in failed), 1)
        if context.trainer.problem is not None:
            raise UserError(context.trainer.problem, 1)

    def _progress(self) -> str:
        running = [
            record
            for record in self._context.trainer.trainings()
            if record.state in OPEN_STATES and (record.state != "queued" or record.message)
        ]
        return "; ".join(f"training {record.id}: {progress(record)}" for record in running)

    def _result(self, record: TrainingRecord) -> events.TextTable:
        adapters = self._context.adapters
        loss = path = None
        if record.adapter is not None:
            with contextlib.suppress(UserError):  # deleted or renamed meanwhile
                loss = adapters.get(record.adapter).train_loss
                path = str(adapters.folder(record.adapter))
        return result_table(record, loss, path)

    def _override(self, command: SlashCommand) -> None:
        refused = [r for r in self._context.trainer.trainings() if r.state == "refused"]
        name = self._chosen(command, refused, "no adapter was refused")
        self._context.trainer.override(name)
        self._context.emit_notice(
            f"training {name}: its adapter is activated although it was refused"
        )

    def _cancel(self, command: SlashCommand) -> None:
        trainings = {r.id: r for r in self._context.trainer.trainings()}
        found = [trainings[name] for name in self._open()]
        name = self._chosen(command, found, "no training is queued or running")
        self._context.trainer.cancel(name)
        self._context.emit_notice(f"training {name} is being cancelled; its examples stay pending")

    def _chosen(self, command: SlashCommand, records: list[TrainingRecord], error: str) -> str:
        """The id in the command, or that of the newest of `records`. Raises `UserError` with the
        text `error` where there is neither."""
        if len(command.arguments) > 1:
            raise command.usage()
        if command.arguments:
            return command.arguments[0]
        if not records:
            raise UserError(error)
        return records[-1].id

    def _open(self) -> list[str]:
        return [r.id for r in self._context.trainer.trainings() if r.state in OPEN_STATES]


def _is_limit_raised(before: TrainingRecord, record: TrainingRecord) -> bool:
    """Whether a longer time limit than the usual one was chosen by the speed of the first steps."""
    chosen = record.limit_seconds
    return before.limit_seconds is None and chosen is not None and chosen > LEAST_SECONDS


def _outcome_text(record: TrainingRecord) -> str:
    message = f": {record.message}" if record.message else ""
    hint = "; /override activates it anyway" if record.state == "refused" else ""
    return f"training {record.id} {record.state}{message}{hint}"
