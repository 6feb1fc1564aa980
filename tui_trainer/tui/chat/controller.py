"""The chat on the app's side: takes news to the talk, and opens what they ask for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol, cast

from textual.app import App
from textual.timer import Timer

from tui_trainer.contracts import session as events
from tui_trainer.text.formats import clean
from tui_trainer.tui.chat import news as chat_news
from tui_trainer.tui.chat.event_text import training_text
from tui_trainer.tui.chat.session_thread import SessionThread
from tui_trainer.tui.chat.transcript import Transcript
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.protocols import OpenSession
from tui_trainer.tui.common.session import AppSession
from tui_trainer.tui.messages import ChatNewsPosted

FRAME_SECONDS = 0.05  # at most twenty times a second, however fast tokens come
OPEN_SECONDS = 0.6  # after the first paint, which it must not delay


class ChatController:
    """One chat for the whole session; the model is loaded when a screen asks for it."""

    def __init__(self, app: AppSession, open_session: OpenSession) -> None:
        self._app = app
        self._taken_at = 0.0
        self._frame: Timer | None = None
        self.transcript = Transcript()
        self.session_thread = SessionThread(
            lambda: app.post_message(ChatNewsPosted()), open_session
        )

    # -- life ---------------------------------------------------------------------------------

    def open_later(self) -> None:
        """Reads the stores soon: a training that was left is carried on, the buffer shown."""
        self._app.set_timer(OPEN_SECONDS, self.session_thread.open)

    def start(self) -> None:
        """Loads the model if it is not there."""
        if self.transcript.phase in ("closed", "opening", "unavailable"):
            self.transcript.phase = "loading"
            self.session_thread.start()

    def close(self) -> None:
        """Ends the chat; a training goes on."""
        self.session_thread.close()

    @property
    def last_words(self) -> str | None:
        """What the shell is told when the session is left."""
        if self.transcript.under_way is None:
            return None
        return "the training keeps running; the next session checks its adapter and activates it"

    def teaches(self, run: Path) -> bool:
        """Whether a run is a training of the teaching's own."""
        return any(r.run_path == str(run) for r in self.transcript.trainings.values())

    # -- what screens ask ---------------------------------------------------------------------

    def submit(self, line: str, *, remember: bool = True) -> None:
        """Has a line done, after those that wait."""
        self.transcript.queue(line, remember=remember)
        self.session_thread.submit(line, remember=remember)
        self._show()

    def agree(self) -> None:
        """Does what is asked for a yes."""
        ask = self.transcript.ask
        if ask is None:
            self._app.show_notice("there is no question to confirm")
            return
        self.transcript.ask = None
        self.submit(ask.yes, remember=False)

    def decline(self) -> bool:
        """Leaves what is asked; whether anything was."""
        ask = self.transcript.ask
        if ask is None:
            return False
        self.transcript.ask = None
        if ask.no is not None:
            self.submit(ask.no, remember=False)
        self._show()
        return True

    def cancel(self) -> bool:
        """Ends the answer under way; whether there is one that was not told to end yet."""
        if self.transcript.working is None or self.transcript.ending:
            return False
        self.transcript.ending = True
        self.session_thread.cancel()
        return True

    def watch_training(self) -> None:
        """Shows the training under way, or the newest, on the dashboard."""
        record = self.transcript.under_way or self.transcript.last_result
        if record is None or record.run_path is None:
            self._app.show_notice(
                "no training has started yet: correct an answer with /fix TEXT, then /train"
            )
            return
        self._app.focus_run(Path(record.run_path))
        self._app.action_show("dashboard")

    # -- news ---------------------------------------------------------------------------------

    def spoke(self) -> None:
        """There is news: it is taken at once, or when the last frame has stood long enough."""
        wait = FRAME_SECONDS - (time.monotonic() - self._taken_at)
        if wait <= 0:
            self._take()
        elif self._frame is None:
            self._frame = self._app.set_timer(wait, self._take)

    def _take(self) -> None:
        self._taken_at, self._frame = time.monotonic(), None
        for news in self.session_thread.take():
            before = self._state_of(news)
            self.transcript.take(news)
            self._tell_elsewhere(news, before)
        self._open_what_is_asked()
        self._show()
        session = self.session_thread.session
        if session is not None and session.ended:
            session.ended = False
            self._app.call_later(self._app.action_quit)

    def _show(self) -> None:
        self._app.refresh_chat()

    def _state_of(self, news: chat_news.News) -> str | None:
        if not isinstance(news, chat_news.TrainingProgressed):
            return None
        before = self.transcript.trainings.get(news.record.id)
        return before.state if before else None

    def _tell_elsewhere(self, news: chat_news.News, before: str | None) -> None:
        """Who looks at another screen hears of refusals and results."""
        if self._app.current_mode == "chat":
            return
        if isinstance(news, events.SessionError):
            self._app.show_notice(news.text, "warning")
        elif isinstance(news, events.SessionNotice) and self._app.current_mode == "adapters":
            self._app.show_notice(news.text)
        elif isinstance(news, chat_news.ChatUnavailable) and self._app.current_mode == "adapters":
            self._app.show_notice(news.reason, "error")
        elif isinstance(news, chat_news.TrainingProgressed) and before != news.record.state:
            tone, words = training_text(news.record)
            if tone != "note":
                self._app.show_notice(words, "information" if tone == "good" else "warning")

    def _open_what_is_asked(self) -> None:
        request, self.transcript.edit = self.transcript.edit, None
        if request is not None:
            self._edit(request)
        ask = self.transcript.ask
        if ask is not None and ask.yes == "/yes" and self._app.current_mode == "adapters":
            self.transcript.ask = None
            options = (
                ChoiceOption("yes", "y", ask.label),
                ChoiceOption("no", "escape", ask.no_label),
            )

            def decide(answer: str | None) -> None:
                self.session_thread.submit("/yes" if answer == "yes" else "/no", remember=False)

            self._app.push_screen(ChoiceDialog(clean(ask.text), options), decide)

    def _edit(self, request: events.EditRequest) -> None:
        from tui_trainer.tui.chat.answer_editor import AnswerEditor  # loaded when it is wanted

        def decide(text: str | None) -> None:
            if text is not None:
                self.session_thread.edited(request, text)

        self._app.push_screen(AnswerEditor(request.question, request.text), decide)


class _HasChat(Protocol):
    """The app, by its chat."""

    @property
    def chat(self) -> ChatController: ...


def chat_of(app: App[Any]) -> ChatController:
    """The session's chat."""
    return cast("_HasChat", app).chat
