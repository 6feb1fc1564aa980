"""The conversation as it stands on the screen: news in, entries and facts out. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tui_trainer.contracts import session as events
from tui_trainer.contracts.feedback import WEIGHTS
from tui_trainer.contracts.teaching import TrainingRecord
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
OPEN_STATES = frozenset({"queued", "training", "checking"})


@dataclass(frozen=True, eq=False)
class TranscriptEntry:
    """One block of the conversation; entries are compared by identity.

    `detail` stands faint below a question or an answer; `running` marks one that still comes.
    """

    kind: Kind
    text: str
    detail: str = ""
    table: events.TextTable | None = None
    running: bool = False


@dataclass(frozen=True)
class PendingQuestion:
    """Something that waits for a yes: the line that does it, and what that is called."""

    text: str
    yes: str
    label: str
    no: str | None = None
    stays: bool = False

    @property
    def no_label(self) -> str:
        """What declining does, in a word."""
        return {"/no": "cancel", "/reject": "reject it"}.get(self.no or "", "dismiss")


@dataclass
class Transcript:
    """What a chat screen shows; one for the whole session, whether a screen is up or not."""

    entries: list[TranscriptEntry] = field(default_factory=list)
    phase: Phase = "closed"
    note: str = ""
    model: str = "builtin"
    facts: chat_news.ChatReady | None = None
    live: dict[str, float] = field(default_factory=dict)
    buffer: events.BufferStatus | None = None
    trainings: dict[str, TrainingRecord] = field(default_factory=dict)
    curve: LossCurve | None = None
    ask: PendingQuestion | None = None
    edit: events.EditRequest | None = None
    history: list[str] = field(default_factory=list)
    working: str | None = None
    ending: bool = False  # it was told to end
    waiting: list[TranscriptEntry] = field(default_factory=list)
    teaches: bool = True
    _drawn: str = ""  # the training of the curve
    _running: int | None = None  # index of the answer that comes

    # -- what the screen says ----------------------------------------------------------------

    def queue(self, line: str, *, remember: bool) -> None:
        """A line was given and waits its turn."""
        self.waiting.append(TranscriptEntry("you", line, "queued"))
        if remember and (not self.history or self.history[-1] != line):
            self.history.append(line)

    @property
    def used(self) -> bool:
        """Whether there is feedback or a training to tell of."""
        buffer = self.buffer
        return bool(
            self.trainings or (buffer is not None and (buffer.count or buffer.needs_correction))
        )

    @property
    def under_way(self) -> TrainingRecord | None:
        """The training that runs, or the first that waits."""
        open_ones = [r for r in self.trainings.values() if r.state in OPEN_STATES]
        running = [r for r in open_ones if r.state != "queued"]
        return next(iter((*running, *open_ones)), None)

    @property
    def queued(self) -> int:
        """Trainings that wait behind the one under way."""
        return max(0, sum(r.state in OPEN_STATES for r in self.trainings.values()) - 1)

    @property
    def last_result(self) -> TrainingRecord | None:
        """The newest training that is over."""
        over = [r for r in self.trainings.values() if r.state not in OPEN_STATES]
        return max(over, key=lambda r: r.ended_at or r.created_at, default=None)

    # -- what happened -----------------------------------------------------------------------

    def take(self, news: News) -> None:
        """Takes one piece of news."""
        match news:
            case events.Token(text=text):
                self._stream(text)
            case events.Answered():
                self._finish(news.response, answered_detail(news))
            case events.Revision():
                self._finish(news.text, "revised answer")
                self.ask = PendingQuestion(*question_of(news))
            case events.SessionError():
                self._stop_stream()
                self._add("problem", news.text)
            case events.SessionNotice():
                self._add("note", news.text)
            case events.Rated():
                self._add("good" if news.taught is not None else "caution", rating_text(news))
            case events.NeedsCorrection():
                pass  # the rating's own line says so
            case events.Flagged() | events.Confirm():
                self.ask = PendingQuestion(*question_of(news))
                self._add("caution", self.ask.text)
            case events.EditRequest():
                self.edit = news
            case events.TextTable():
                self._add("table", news.title, table=news)
            case events.AdaptersActivated(adapters=adapters):
                self._go_live(adapters)
            case events.BufferStatus():
                self.buffer = news
            case chat_news.TrainingProgressed():
                self._progress(news)
            case _:
                self._take_life(news)

    def _take_life(self, news: News) -> None:
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
            case chat_news.NotTeaching():
                self.teaches = False
                self._add(
                    "caution",
                    "another tui-trainer session trains for this home folder: "
                    "feedback is stored here, and that session trains on it",
                )

    def _begin(self, line: str) -> None:
        taken = next((entry for entry in self.waiting if entry.text == line), None)
        if taken is not None:
            self.waiting.remove(taken)
        self.working, self.ending = line, False
        if self.ask is not None and not self.ask.stays:
            self.ask = None
        self._add("you", line)

    def _end(self, news: chat_news.LineEnded) -> None:
        self.working = None
        self._stop_stream()
        if news.done and news.line.strip() == "/new":
            self.entries = self.entries[-1:]

    def _stream(self, text: str) -> None:
        if self._running is None:
            self._running = len(self.entries)
            self._add("answer", text, running=True)
        else:
            entry = self.entries[self._running]
            self.entries[self._running] = replace(entry, text=entry.text + text)

    def _finish(self, text: str, detail: str) -> None:
        entry = TranscriptEntry("answer", text, detail)
        if self._running is None:
            self.entries.append(entry)
        else:
            self.entries[self._running] = entry
        self._running = None

    def _stop_stream(self) -> None:
        """What there is of an answer that will not be finished stays as it is."""
        if self._running is not None:
            self._finish(self.entries[self._running].text, "cut off")

    def _progress(self, news: chat_news.TrainingProgressed) -> None:
        record = news.record
        before = self.trainings.get(record.id)
        self.trainings[record.id] = record
        if record.state == "training":
            self.curve, self._drawn = news.curve, record.id
        elif record.id == self._drawn:
            self.curve = None
        if before is None or before.state != record.state:
            kind, text = training_text(record)
            self._add(kind, text)
            if record.state == "refused":
                self.ask = PendingQuestion(*question_of(record))

    def _go_live(self, adapters: dict[str, float]) -> None:
        changed, self.live = self.live != adapters, dict(adapters)
        if changed:
            self._add(
                "note",
                f"active adapter: {live_text(adapters)}"
                if adapters
                else "no active adapter: the base model answers",
            )

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
    """The conversation that is carried on, and a line where it stops."""
    found: list[TranscriptEntry] = []
    for said in news.said:
        if said.role == "user":
            found.append(TranscriptEntry("you", said.content))
            continue
        source = said.adapter or BASE
        found.append(
            TranscriptEntry(
                "answer", said.content, f"{source} · cut off" if said.cancelled else source
            )
        )
        rating = news.ratings.get(said.example) if said.example else None
        if rating is not None:
            found.append(TranscriptEntry("note", f"rated {rating} (weight {WEIGHTS[rating]:g})"))
    if found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(news.said[-1].time))
        found.append(
            TranscriptEntry("note", f"continued from {when}; /new starts a new conversation")
        )
    return found
