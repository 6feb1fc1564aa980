"""The chat session in threads of its own: lines go in, news come out, no widget is touched."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_trainer.contracts import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Rating
from tui_trainer.tui.chat.loss_curve import curve_of
from tui_trainer.tui.chat.news import (
    ChatReady,
    ChatUnavailable,
    LineEnded,
    LineStarted,
    ModelLoading,
    News,
    NotTeaching,
    SessionOpened,
    TrainingProgressed,
)
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.protocols import OpenSession

if TYPE_CHECKING:  # monitor loads neither of them
    from tui_trainer.repl.context import SessionContext
    from tui_trainer.repl.session import ChatSession

KEPT_TURNS = 2000
SEAT_SECONDS = 3.0  # until another session is taken to have the teacher's seat
_LEAVE_SECONDS = 6.0
_LOOK_SECONDS = 0.2


class SessionThread:
    """Owns the session and the one thread that works on its lines, one after the other.

    News gather until they are taken; `post` is called once when the first of them comes, from
    any thread.
    """

    def __init__(self, post: Callable[[], object], open_session: OpenSession) -> None:
        self._post = post
        self._open_session = open_session
        self._news: deque[News] = deque()
        self._told = False
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._session: ChatSession | None = None
        self._started = False
        self._left = threading.Event()
        self._tried = threading.Event()  # to read the stores, with or without success
        self._thread: threading.Thread | None = None

    # -- from the screen's thread ----------------------------------------------------------------

    @property
    def session(self) -> ChatSession | None:
        """The session once its stores were read."""
        return self._session

    def take(self) -> list[News]:
        """What happened since the last time, oldest first."""
        with self._lock:
            self._told = False
            taken = list(self._news)
            self._news.clear()
        return taken

    def open(self) -> None:
        """Reads the stores; carries on a training that was under way."""
        self._put(self._open)

    def start(self) -> None:
        """Loads the model, if it is not there."""
        self._put(self._start)

    def submit(self, line: str, *, remember: bool = True) -> None:
        """Has a line done after those before it; loads the model first."""
        self._put(lambda: self._do(line, remember))

    def edited(self, request: events.EditRequest, text: str) -> None:
        """Takes what came of an editor."""

        def work() -> None:
            if self._session is not None:
                self._session.edited(request, text)

        self._put(work)

    def cancel(self) -> None:
        """Ends the answer under way; returns at once."""
        session = self._session
        if session is not None:
            in_background("cancel", session.cancel)

    def close(self) -> None:
        """Ends the session with the model's process; a training that runs goes on."""
        self._left.set()
        self._jobs.put(None)
        session = self._session
        if session is None:
            return

        def work() -> None:
            session.cancel()
            session.close()

        ending = threading.Thread(target=work, name="chat ends", daemon=True)
        ending.start()
        ending.join(_LEAVE_SECONDS)  # what is left then ends with this process

    def _put(self, job: Callable[[], None]) -> None:
        self._jobs.put(job)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="chat", daemon=True)
            self._thread.start()

    # -- from other threads ---------------------------------------------------------------------

    def desk(self) -> SessionContext:
        """Model, teacher and stores; waits until they are there. Raises `UserError`."""
        self.open()
        while not self._tried.wait(_LOOK_SECONDS):
            if self._left.is_set():
                break
        if self._session is None:
            raise UserError("the chat is not available; the chat screen (3) shows why")
        return self._session.context

    # -- in the session's thread -----------------------------------------------------------------

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None and not self._left.is_set():
            try:
                job()
            except UserError as error:
                self._tell(events.SessionError(text=str(error)))
            except Exception as error:  # the next line is to be done all the same
                self._tell(
                    events.SessionError(text=f"unexpected error, {type(error).__name__}: {error}")
                )

    def _open(self) -> None:
        if self._session is not None:
            return
        try:
            session = self._open_session(self._tell, lambda text: self._tell(ModelLoading(text)))
            self._tell(opened(session))
            self._session = session
        except UserError as error:
            self._tell(ChatUnavailable(str(error)))
            return
        finally:
            self._tried.set()
        session.training_changed()  # tells how full the buffer is
        if session.training:
            self._start()

    def _start(self) -> None:
        self._open()
        session = self._session
        if session is None or self._started:
            return
        self._tell(ModelLoading())
        try:
            session.start()
        except UserError as error:
            self._tell(ChatUnavailable(str(error)))
            return
        self._started = True
        facts = session.context.client.facts
        if facts is not None:
            self._tell(ChatReady(facts.parameters, facts.device, facts.dtype))
        in_background("seat", lambda: self._look_for_seat(session))

    def _do(self, line: str, remember: bool) -> None:
        self._tell(LineStarted(line))
        done = False
        try:
            self._start()
            if self._session is not None:
                if remember:
                    self._session.remember(line)
                done = self._session.submit(line)
        finally:
            self._tell(LineEnded(line, done))

    def _look_for_seat(self, session: ChatSession) -> None:
        if not self._left.wait(SEAT_SECONDS) and not session.context.trainer.teaching:
            self._tell(NotTeaching())

    def _tell(self, news: News) -> None:
        if isinstance(news, events.TrainingStatus):
            news = TrainingProgressed(news.record, curve_of(news.record))
        with self._lock:
            self._news.append(news)
            first, self._told = not self._told, True
        if first and not self._left.is_set():
            self._post()


def opened(session: ChatSession) -> SessionOpened:
    """What the stores hold at the start."""
    desk = session.context
    ratings: dict[str, Rating] = {}
    with contextlib.suppress(UserError):
        ratings = {e.id: e.rating for e in desk.feedback.examples() if not e.dropped}
    return SessionOpened(
        model=desk.base,
        said=tuple(desk.conversation.recorded(KEPT_TURNS)),
        ratings=ratings,
        trainings=tuple(desk.trainer.trainings()),
        history=tuple(session.history()),
        live=session.live,
    )
