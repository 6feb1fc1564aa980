"""The chat on the app's side: passes lines to the session thread and its news to the screens."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

from textual.app import App
from textual.timer import Timer

from tui_trainer.contracts.chat import session as events
from tui_trainer.text.formats import clean
from tui_trainer.tui.chat import news as chat_news
from tui_trainer.tui.chat.event_text import training_text
from tui_trainer.tui.chat.session_thread import SessionThread
from tui_trainer.tui.chat.transcript import Transcript
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.protocols import OpenSession
from tui_trainer.tui.common.session import DialogHost, MessageHost, NoticeHost, TimerHost
from tui_trainer.tui.messages import ChatNewsPosted

FRAME_SECONDS = 0.05  # at most twenty updates a second, however fast tokens arrive
OPEN_SECONDS = 0.6  # after the first paint, which it must not delay


class ChatHost(NoticeHost, DialogHost, MessageHost, TimerHost, Protocol):
    """The parts of the app that the chat uses."""

    @property
    def current_mode(self) -> str: ...
    def refresh_chat(self) -> None: ...
    def focus_run(self, path: Path | None) -> None: ...
    def action_show(self, screen: str) -> None: ...
    async def action_quit(self) -> None: ...
    def call_later(self, callback: Callable[..., Any]) -> bool: ...


class ChatController:
    """One chat for the whole session; the model is loaded when the chat screen is first shown."""

    def __init__(self, app: ChatHost, open_session: OpenSession) -> None:
        self._app = app
        self._applied_at = 0.0
        self._frame: Timer | None = None
        self.transcript = Transcript()
        self.session_thread = SessionThread(
            lambda: app.post_message(ChatNewsPosted()), open_session
        )

    # -- start and end ------------------------------------------------------------------------

    def open_later(self) -> None:
        """Read the stores soon, to resume an unfinished training and show the buffer."""
        self._app.set_timer(OPEN_SECONDS, self.session_thread.open)

    def start(self) -> None:
        """Load the model, unless it is loaded or being loaded."""
        if self.transcript.phase in ("closed", "opening", "unavailable"):
            self.transcript.phase = "loading"
            self.session_thread.start()

    def close(self) -> None:
        """End the chat; a running training continues."""
        self.session_thread.close()

    @property
    def exit_message(self) -> str | None:
        """What is printed in the shell after the session, or None."""
        if self.transcript.current_training is None:
            return None
        return "the training keeps running; the next session checks its adapter and activates it"

    def is_own_training(self, run: Path) -> bool:
        """Whether a run is a training on feedback, whose end the chat reports."""
        return any(r.run_path == str(run) for r in self.transcript.trainings.values())

    # -- called by screens --------------------------------------------------------------------

    def submit(self, line: str, *, remember: bool = True) -> None:
        """Execute a line after those already queued; `remember` adds it to the input history."""
        self.transcript.queue(line, remember=remember)
        self.session_thread.submit(line, remember=remember)
        self._app.refresh_chat()

    def confirm(self) -> None:
        """Confirm the open question."""
        question = self.transcript.question
        if question is None:
            self._app.show_notice("there is no question to confirm")
            return
        self.transcript.question = None
        self.submit(question.yes, remember=False)

    def decline(self) -> bool:
        """Decline the open question; False if there is none."""
        question = self.transcript.question
        if question is None:
            return False
        self.transcript.question = None
        if question.no is not None:
            self.submit(question.no, remember=False)
        self._app.refresh_chat()
        return True

    def cancel(self) -> bool:
        """Cancel the line that is being executed; False if there is none or it is cancelled
        already."""
        if self.transcript.current_line is None or self.transcript.cancelling:
            return False
        self.transcript.cancelling = True
        self.session_thread.cancel()
        return True

    def watch_training(self) -> None:
        """Show the current training, or the newest finished one, on the dashboard."""
        record = self.transcript.current_training or self.transcript.last_result
        if record is None or record.run_path is None:
            self._app.show_notice(
                "no training has started yet: correct an answer with /fix TEXT, then /train"
            )
            return
        self._app.focus_run(Path(record.run_path))
        self._app.action_show("dashboard")

    # -- news ---------------------------------------------------------------------------------

    def news_posted(self) -> None:
        """Apply the news of the session thread: at once, or after the minimum time between two
        updates."""
        wait = FRAME_SECONDS - (time.monotonic() - self._applied_at)
        if wait <= 0:
            self._apply_news()
        elif self._frame is None:
            self._frame = self._app.set_timer(wait, self._apply_news)

    def _apply_news(self) -> None:
        self._applied_at, self._frame = time.monotonic(), None
        for news in self.session_thread.drain_news():
            before = self._state_before(news)
            self.transcript.apply(news)
            self._notify_other_screens(news, before)
        self._open_dialogs()
        self._app.refresh_chat()
        session = self.session_thread.session
        if session is not None and session.ended:
            session.ended = False
            self._app.call_later(self._app.action_quit)

    def _state_before(self, news: chat_news.News) -> str | None:
        """The state of the training that the news are about, before they are applied."""
        if not isinstance(news, chat_news.TrainingProgressed):
            return None
        before = self.transcript.trainings.get(news.record.id)
        return before.state if before else None

    def _notify_other_screens(self, news: chat_news.News, before: str | None) -> None:
        """Show errors and results as notices where another screen than the chat is shown."""
        mode = self._app.current_mode
        if mode == "chat":
            return
        if isinstance(news, events.SessionError):
            self._app.show_notice(news.text, "warning")
        elif isinstance(news, events.SessionNotice) and mode == "adapters":
            self._app.show_notice(news.text)
        elif isinstance(news, chat_news.ChatUnavailable) and mode == "adapters":
            self._app.show_notice(news.reason, "error")
        elif isinstance(news, chat_news.TrainingProgressed) and before != news.record.state:
            tone, text = training_text(news.record)
            if tone != "note":
                self._app.show_notice(text, "information" if tone == "good" else "warning")

    def _open_dialogs(self) -> None:
        """Open the editor that a command requested, and on the adapters screen the dialog of a
        question."""
        request, self.transcript.edit_request = self.transcript.edit_request, None
        if request is not None:
            self._edit(request)
        question = self.transcript.question
        if question is not None and question.yes == "/yes" and self._app.current_mode == "adapters":
            self.transcript.question = None
            options = (
                ChoiceOption("yes", "y", question.label),
                ChoiceOption("no", "escape", question.no_label),
            )

            def decide(answer: str | None) -> None:
                self.session_thread.submit("/yes" if answer == "yes" else "/no", remember=False)

            self._app.push_screen(ChoiceDialog(clean(question.text), options), decide)

    def _edit(self, request: events.EditRequest) -> None:
        from tui_trainer.tui.chat.answer_editor import AnswerEditor  # imported on first use

        def decide(text: str | None) -> None:
            if text is not None:
                self.session_thread.edited(request, text)

        self._app.push_screen(AnswerEditor(request.question, request.text), decide)


class _HasChat(Protocol):
    @property
    def chat(self) -> ChatController: ...


def chat_of(app: App[Any]) -> ChatController:
    """The session's chat."""
    return cast("_HasChat", app).chat
