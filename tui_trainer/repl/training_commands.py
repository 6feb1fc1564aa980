"""Starting, watching and judging trainings."""

from __future__ import annotations

import threading

from tui_trainer.contracts import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import training_table

OPEN_STATES = ("queued", "training", "checking")
ENDED_BADLY = ("refused", "failed", "cancelled")
_SHOWN = 10  # trainings in the table
_WAIT_SECONDS = 0.1


class TrainingCommands:
    """`/train /training /override /cancel`, and news of trainings."""

    def __init__(self, desk: SessionContext) -> None:
        self._desk = desk
        self._lock = threading.Lock()
        self._seen: dict[str, TrainingRecord] | None = None
        self._problem: str | None = None

    def handlers(self) -> dict[str, Handler]:
        """The commands by name."""
        return {
            "train": self._train,
            "training": self._training,
            "override": self._override,
            "cancel": self._cancel,
        }

    def tell_news(self) -> None:
        """Emits what has changed since the last time; the teacher's thread calls it."""
        desk = self._desk
        with self._lock:
            records = {record.id: record for record in desk.teacher.trainings()}
            before = self._seen if self._seen is not None else records
            self._seen = records
            news = [record for record in records.values() if before.get(record.id) != record]
            problem = desk.teacher.problem
            news_of_problem, self._problem = problem != self._problem, problem
        for record in news:
            desk.emit(events.TrainingStatus(record=record))
            if record.state == "live" and _state(before, record.id) != "live":
                desk.emit(events.AdaptersActivated(adapters=desk.adapters.live(desk.base)))
        desk.tell_buffer(news_only=True)
        if news_of_problem and problem is not None:
            desk.emit(events.SessionError(text=problem))

    def _train(self, command: SlashCommand) -> None:
        if command.words:
            raise command.usage()
        try:
            self._desk.teacher.train_now()
        except UserError:
            # The threshold may just have taken all that waited: nothing is wrong then.
            if not self._open():
                raise
            self._desk.say("all feedback is in a training already; /training shows it")
        else:
            self.tell_news()

    def _training(self, command: SlashCommand) -> None:
        if command.words not in ([], ["wait"]):
            raise command.usage()
        if command.words:
            self._wait()
            return
        self._desk.tell_buffer()
        records = self._desk.teacher.trainings()
        if records:
            self._desk.emit(training_table(records[-_SHOWN:]))
        else:
            self._desk.say("no training yet; /train starts one with what waits")
        if self._desk.teacher.problem is not None:
            self._desk.emit(events.SessionError(text=self._desk.teacher.problem))

    def _wait(self) -> None:
        desk = self._desk
        waited_for = set(self._open())
        while not desk.teacher.wait(_WAIT_SECONDS):
            waited_for |= set(self._open())
            if desk.cancelled.is_set():
                desk.say("no longer waiting; the training goes on")
                return
        self.tell_news()
        ended = [record for record in desk.teacher.trainings() if record.id in waited_for]
        if ended:
            desk.emit(training_table(ended))
        else:
            desk.say("nothing is queued or running")
        bad = [record for record in ended if record.state in ENDED_BADLY]
        if bad:
            raise UserError("; ".join(_told(record) for record in bad), 1)
        if desk.teacher.problem is not None:
            raise UserError(desk.teacher.problem, 1)

    def _override(self, command: SlashCommand) -> None:
        refused = [r for r in self._desk.teacher.trainings() if r.state == "refused"]
        name = self._chosen(command, refused, "no adapter was refused")
        self._desk.teacher.override(name)
        self._desk.say(f"training {name}: its adapter is loaded though it was refused")

    def _cancel(self, command: SlashCommand) -> None:
        trainings = {r.id: r for r in self._desk.teacher.trainings()}
        found = [trainings[name] for name in self._open()]
        name = self._chosen(command, found, "no training is queued or running")
        self._desk.teacher.cancel(name)
        self._desk.say(f"training {name} is being cancelled; its examples keep waiting")

    def _chosen(self, command: SlashCommand, records: list[TrainingRecord], nothing: str) -> str:
        """The training that the command names, or the newest of `records`."""
        if len(command.words) > 1:
            raise command.usage()
        if command.words:
            return command.words[0]
        if not records:
            raise UserError(nothing)
        return records[-1].id

    def _open(self) -> list[str]:
        return [r.id for r in self._desk.teacher.trainings() if r.state in OPEN_STATES]


def _state(records: dict[str, TrainingRecord], training_id: str) -> str | None:
    record = records.get(training_id)
    return record.state if record else None


def _told(record: TrainingRecord) -> str:
    message = f": {record.message}" if record.message else ""
    hint = "; /override loads it all the same" if record.state == "refused" else ""
    return f"training {record.id} {record.state}{message}{hint}"
