"""The conversation as the screen shows it: news in, entries and facts out. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.feedback import WEIGHTS
from tui_trainer.contracts.teaching.training import OPEN_STATES, TrainingRecord
from tui_trainer.text import formats
from tui_trainer.tui.chat import news as chat_news
from tui_trainer.tui.chat.event_text import (
    BASE,
    answered_detail,
    live_text,
    question_of,
    rating_text,
    training_text,
)
from tui_trainer.tui.chat.loss_curve import LossCurve
from tui_trainer.tui.chat.news import News

Kind = Literal["you", "answer", "note", "good", "caution", "problem", "table"]
Phase = Literal["closed", "opening", "loading", "ready", "unavailable"]


@dataclass(frozen=True, eq=False)
class TranscriptEntry:
    """One block of the conversation; entries are compared by identity."""

    kind: Kind
    text: str
    detail: str = ""  # shown faint below a question or an answer
    table: events.TextTable | None = None
    running: bool = False  # an answer that is being generated


@dataclass(frozen=True)
class PendingQuestion:
    """A question to the user that a key confirms or declines."""

    text: str
    yes: str  # the line that confirms it
    label: str  # of the confirmation
    no: str | None = None  # the line that declines it; None if none is needed
    stays: bool = False  # whether it stays open after another command

    @property
    def no_label(self) -> str:
        """The label of declining."""
        return {"/no": "cancel", "/reject": "reject it"}.get(self.no or "", "dismiss")


@dataclass
class Transcript:
    """What the chat screen shows; one for the whole session, whether the screen is shown or not."""

    entries: list[TranscriptEntry] = field(default_factory=list)
    phase: Phase = "closed"
    note: str = ""  # the stage of loading, or why the chat is unavailable
    model: str = "builtin"
    facts: chat_news.ChatReady | None = None
    live: dict[str, float] = field(default_factory=dict)  # active adapters with their weights
    buffer: events.BufferStatus | None = None
    trainings: dict[str, TrainingRecord] = field(default_factory=dict)  # by id, oldest first
    curve: LossCurve | None = None  # of the current training
    question: PendingQuestion | None = None
    edit_request: events.EditRequest | None = None
    history: list[str] = field(default_factory=list)  # input lines, oldest first
    current_line: str | None = None  # the line that is being executed
    cancelling: bool = False  # whether the current line was cancelled by the user
    queued_entries: list[TranscriptEntry] = field(default_factory=list)  # lines not started yet
    trains_here: bool = True  # False if another session trains for this home folder
    _curve_training: str = ""  # id of the training of `curve`
    _running_index: int | None = None  # index of the answer that is being generated

    # -- called by screens --------------------------------------------------------------------

    def queue(self, line: str, *, remember: bool) -> None:
        """Add a line that was submitted; `remember` adds it to the input history."""
        self.queued_entries.append(TranscriptEntry("you", line, "queued"))
        if remember and (not self.history or self.history[-1] != line):
            self.history.append(line)

    @property
    def used(self) -> bool:
        """Whether there is any feedback or training."""
        buffer = self.buffer
        return bool(
            self.trainings or (buffer is not None and (buffer.count or buffer.needs_correction))
        )

    @property
    def current_training(self) -> TrainingRecord | None:
        """The running training, else the first queued one."""
        open_ones = [r for r in self.trainings.values() if r.state in OPEN_STATES]
        running = [r for r in open_ones if r.state != "queued"]
        return next(iter((*running, *open_ones)), None)

    @property
    def queued_trainings(self) -> int:
        """The number of trainings queued behind the current one."""
        return max(0, sum(r.state in OPEN_STATES for r in self.trainings.values()) - 1)

    @property
    def last_result(self) -> TrainingRecord | None:
        """The newest finished training."""
        finished = [r for r in self.trainings.values() if r.state not in OPEN_STATES]
        return max(finished, key=lambda r: r.ended_at or r.created_at, default=None)

    # -- news ---------------------------------------------------------------------------------

    def apply(self, news: News) -> None:
        """Update the transcript with one piece of news."""
        match news:
            case events.Token(text=text):
                self._stream(text)
            case events.Answered():
                self._finish(news.response, answered_detail(news))
            case events.Revision():
                self._finish(news.text, "revised answer")
                self.question = PendingQuestion(*question_of(news))
            case events.SessionError():
                self._stop_stream()
                self._add("problem", news.text)
            case events.SessionNotice():
                self._add("note", news.text)
            case events.Rated():
                self._add("good" if news.taught is not None else "caution", rating_text(news))
            case events.NeedsCorrection():
                pass  # part of the rating's text
            case events.Flagged() | events.Confirm():
                self.question = PendingQuestion(*question_of(news))
                self._add("caution", self.question.text)
            case events.EditRequest():
                self.edit_request = news
            case events.TextTable():
                self._add("table", news.title, table=news)
            case events.AdaptersActivated(adapters=adapters):
                self._set_active(adapters)
            case events.BufferStatus():
                self.buffer = news
            case chat_news.TrainingProgressed():
                self._progress(news)
            case _:
                self._apply_lifecycle(news)

    def _apply_lifecycle(self, news: News) -> None:
        """Apply news about the session, its model and its lines."""
        match news:
            case chat_news.SessionOpened():
                self._open(news)
            case chat_news.ModelLoading(message=message):
                self.phase, self.note = "loading", message
            case chat_news.ChatReady():
                self.phase, self.note, self.facts = "ready", "", news
            case chat_news.ChatUnavailable(reason=reason):
                self.phase, self.note = "unavailable", reason
            case chat_news.LineStarted(line=line):
                self._begin(line)
            case chat_news.LineEnded():
                self._end(news)
            case chat_news.TrainsElsewhere():
                self.trains_here = False
                self._add(
                    "caution",
                    "another tui-trainer session trains for this home folder: "
                    "feedback is stored here, and that session trains on it",
                )

    def _begin(self, line: str) -> None:
        queued = next((entry for entry in self.queued_entries if entry.text == line), None)
        if queued is not None:
            self.queued_entries.remove(queued)
        self.current_line, self.cancelling = line, False
        if self.question is not None and not self.question.stays:
            self.question = None
        self._add("you", line)

    def _end(self, news: chat_news.LineEnded) -> None:
        self.current_line = None
        self._stop_stream()
        if news.done and news.line.strip() == "/new":
            self.entries = self.entries[-1:]

    def _stream(self, text: str) -> None:
        if self._running_index is None:
            self._running_index = len(self.entries)
            self._add("answer", text, running=True)
        else:
            entry = self.entries[self._running_index]
            self.entries[self._running_index] = replace(entry, text=entry.text + text)

    def _finish(self, text: str, detail: str) -> None:
        entry = TranscriptEntry("answer", text, detail)
        if self._running_index is None:
            self.entries.append(entry)
        else:
            self.entries[self._running_index] = entry
        self._running_index = None

    def _stop_stream(self) -> None:
        """Keep what was generated of an answer that will not be finished."""
        if self._running_index is not None:
            self._finish(self.entries[self._running_index].text, "cut off")

    def _progress(self, news: chat_news.TrainingProgressed) -> None:
        record = news.record
        before = self.trainings.get(record.id)
        self.trainings[record.id] = record
        if record.state == "training":
            self.curve, self._curve_training = news.curve, record.id
        elif record.id == self._curve_training:
            self.curve = None
        if before is None or before.state != record.state:
            kind, text = training_text(record)
            self._add(kind, text)
            if record.state == "refused":
                self.question = PendingQuestion(*question_of(record))

    def _set_active(self, adapters: dict[str, float]) -> None:
        changed, self.live = self.live != adapters, dict(adapters)
        if changed:
            text = f"active adapter: {live_text(adapters)}" if adapters else "no adapter is active"
            self._add("note", text)

    def _open(self, news: chat_news.SessionOpened) -> None:
        self.phase, self.model = "opening", news.model
        self.live = dict(news.live)
        self.trainings = {record.id: record for record in news.trainings}
        self.history = [*news.history, *self.history]
        self.entries = [*earlier(news), *self.entries]

    def _add(
        self, kind: Kind, text: str, *, table: events.TextTable | None = None, running: bool = False
    ) -> None:
        self.entries.append(TranscriptEntry(kind, text, table=table, running=running))


def earlier(news: chat_news.SessionOpened) -> Sequence[TranscriptEntry]:
    """The entries of the resumed conversation, and a line at its end."""
    entries: list[TranscriptEntry] = []
    for turn in news.turns:
        if turn.role == "user":
            entries.append(TranscriptEntry("you", turn.content))
            continue
        source = turn.adapter or BASE
        detail = f"{source} · cut off" if turn.cancelled else source
        entries.append(TranscriptEntry("answer", turn.content, detail))
        rating = news.ratings.get(turn.example) if turn.example else None
        if rating is not None:
            weight = formats.short_number(WEIGHTS[rating])
            entries.append(TranscriptEntry("note", f"rated {rating} (weight {weight})"))
    if entries:
        when = formats.moment(news.turns[-1].time)
        entries.append(
            TranscriptEntry("note", f"continued from {when}; /new starts a new conversation")
        )
    return entries
