"""The chat session in threads of its own: lines go in, news come out, no widget is touched."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.contracts.teaching.feedback import Rating
from tui_trainer.tui.chat.loss_curve import curve_of
from tui_trainer.tui.chat.news import (
    ChatReady,
    ChatUnavailable,
    LineEnded,
    LineStarted,
    ModelLoading,
    News,
    SessionOpened,
    TrainingProgressed,
    TrainsElsewhere,
)
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.protocols import OpenSession

if TYPE_CHECKING:  # monitor loads neither of them
    from tui_trainer.repl.context import SessionContext
    from tui_trainer.repl.session import ChatSession

KEPT_TURNS = 2000
TRAINER_CHECK_SECONDS = 3.0  # after that, another session is the one that trains
_CLOSE_SECONDS = 6.0  # to end the session; then the process exits anyway
_POLL_SECONDS = 0.2


class SessionThread:
    """Owns the session and the one thread that executes its lines, one after the other.

    News are collected until `drain_news` is called; `on_news` is called once for the first of
    them, from any thread.
    """

    def __init__(self, on_news: Callable[[], object], open_session: OpenSession) -> None:
        self._on_news = on_news
        self._open_session = open_session
        self._news: deque[News] = deque()
        self._announced = False  # whether `on_news` was called for the news in the queue
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._session: ChatSession | None = None
        self._started = False
        self._closed = threading.Event()
        self._open_attempted = threading.Event()
        self._thread: threading.Thread | None = None

    # -- called in the screen's thread -----------------------------------------------------------

    @property
    def session(self) -> ChatSession | None:
        """The session; None until its stores were read."""
        return self._session

    def drain_news(self) -> list[News]:
        """Return and remove the news since the last call, oldest first."""
        with self._lock:
            self._announced = False
            news = list(self._news)
            self._news.clear()
        return news

    def open(self) -> None:
        """Read the stores; resume an unfinished training."""
        self._put(self._open)

    def start(self) -> None:
        """Load the model, unless it is loaded."""
        self._put(self._start)

    def submit(self, line: str, *, remember: bool = True) -> None:
        """Queue a line; the model is loaded first. `remember` adds it to the input history."""
        self._put(lambda: self._execute(line, remember))

    def edited(self, request: events.EditRequest, text: str) -> None:
        """Store the text of an editor that the session requested."""

        def work() -> None:
            if self._session is not None:
                self._session.edited(request, text)

        self._put(work)

    def cancel(self) -> None:
        """Cancel the answer that is being generated; returns at once."""
        session = self._session
        if session is not None:
            in_background("cancel", session.cancel)

    def close(self) -> None:
        """End the session and the model's process; a running training continues."""
        self._closed.set()
        self._jobs.put(None)
        session = self._session
        if session is None:
            return

        def work() -> None:
            session.cancel()
            session.close()

        closing = threading.Thread(target=work, name="chat ends", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="chat", daemon=True)
            self._thread.start()

    # -- called in other threads -----------------------------------------------------------------

    def wait_for_context(self) -> SessionContext:
        """Return model, trainer and stores, once the stores were read. Raises `UserError`."""
        self.open()
        while not self._open_attempted.wait(_POLL_SECONDS):
            if self._closed.is_set():
                break
        if self._session is None:
            raise UserError("the chat is not available; the chat screen shows why")
        return self._session.context

    # -- run in the session's thread -------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._closed.is_set():
            try:
                job()
            except Exception as error:  # the next line is executed all the same
                self._report(events.SessionError(text=error_text(error)))

    def _open(self) -> None:
        if self._session is not None:
            return
        try:
            session = self._open_session(
                self._report, lambda text: self._report(ModelLoading(text))
            )
            self._report(opened(session))
            self._session = session
        except Exception as error:
            self._report(ChatUnavailable(error_text(error)))
            return
        finally:
            self._open_attempted.set()
        session.context.emit_buffer()
        if session.training:
            self._start()

    def _start(self) -> None:
        self._open()
        session = self._session
        if session is None or self._started:
            return
        self._report(ModelLoading())
        try:
            session.start()
        except Exception as error:
            self._report(ChatUnavailable(error_text(error)))
            return
        self._started = True
        facts = session.context.client.facts
        if facts is not None:
            self._report(ChatReady(facts.parameters, facts.device, facts.dtype))
        in_background("trainer check", lambda: self._check_trains_here(session))

    def _execute(self, line: str, remember: bool) -> None:
        self._report(LineStarted(line))
        done = False
        try:
            self._start()
            if self._session is not None:
                if remember:
                    self._session.remember(line)
                done = self._session.submit(line)
        finally:
            self._report(LineEnded(line, done))

    def _check_trains_here(self, session: ChatSession) -> None:
        if not self._closed.wait(TRAINER_CHECK_SECONDS) and not session.context.trainer.teaching:
            self._report(TrainsElsewhere())

    def _report(self, news: News) -> None:
        """Add a piece of news; may be called from any thread."""
        if isinstance(news, events.TrainingStatus):
            news = TrainingProgressed(news.record, curve_of(news.record))
        with self._lock:
            self._news.append(news)
            first, self._announced = not self._announced, True
        if first and not self._closed.is_set():
            self._on_news()


def opened(session: ChatSession) -> SessionOpened:
    """The content of the stores at the start."""
    context = session.context
    ratings: dict[str, Rating] = {}
    with contextlib.suppress(UserError):
        ratings = {e.id: e.rating for e in context.feedback.examples() if not e.dropped}
    return SessionOpened(
        model=context.base,
        turns=tuple(context.conversation.recorded(KEPT_TURNS)),
        ratings=ratings,
        trainings=tuple(context.trainer.trainings()),
        history=tuple(session.history()),
        live=session.live,
    )
