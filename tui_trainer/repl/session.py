"""A chat session: text in, events out. It knows no screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tui_trainer.contracts import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.repl.adapter_commands import AdapterCommands
from tui_trainer.repl.command_table import COMMANDS, written
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.feedback_commands import FeedbackCommands
from tui_trainer.repl.parse import Question, SlashCommand, parse
from tui_trainer.repl.protocols import BackgroundTrainer, ChatModel
from tui_trainer.repl.rating_commands import RatingCommands
from tui_trainer.repl.settings_commands import SettingsCommands
from tui_trainer.repl.training_commands import OPEN_STATES, TrainingCommands
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.feedback.secret_scan import find_secrets


class ChatSession:
    """One user's session with a model.

    `submit` blocks until the line is done: call it from one worker thread at a time. `cancel`
    may be called from any. Events come from the thread that submits and from the teacher's.
    """

    def __init__(
        self,
        client: ChatModel,
        teacher: BackgroundTrainer,
        feedback: FeedbackStore,
        adapters: AdapterStore,
        conversation: ConversationStore,
        settings: TeachingSettings,
        emit: Callable[[events.Event], None],
    ) -> None:
        """`teacher` is to call `teacher_changed` and to ask `settings` anew each time."""
        self._desk = SessionContext(
            client, teacher, feedback, adapters, conversation, settings, emit
        )
        self._ratings = RatingCommands(self._desk)
        self._trainings = TrainingCommands(self._desk)
        groups = (
            self._ratings,
            self._trainings,
            FeedbackCommands(self._desk, self._ratings.correct),
            AdapterCommands(self._desk),
            SettingsCommands(self._desk),
        )
        self._handlers: dict[str, Handler] = {
            "new": self._new,
            "yes": self._yes,
            "no": self._no,
            "help": self._help,
            "quit": self._quit,
        }
        for group in groups:
            self._handlers |= group.handlers()
        self._refused: dict[str, float] | None = None
        self.ended = False
        """Whether the user has left (`/quit`)."""

    @property
    def desk(self) -> SessionContext:
        """Model, teacher and stores, for a screen that shows them."""
        return self._desk

    @property
    def settings(self) -> TeachingSettings:
        """The settings of teaching as they are now."""
        return self._desk.settings

    @property
    def live(self) -> dict[str, float]:
        """The adapters that answer, with their weights."""
        return self._desk.adapters.live(self._desk.base)

    @property
    def training(self) -> bool:
        """Whether a training is queued or under way."""
        return any(r.state in OPEN_STATES for r in self._desk.teacher.trainings())

    def start(self) -> None:
        """Loads the base and what was live last time, and lets the teacher watch; blocks.

        What cannot be loaded is told, and the base answers alone. Raises `UserError` where the
        base cannot be loaded.
        """
        desk = self._desk
        for sentence in desk.adapters.settle_live(desk.base):
            desk.say(sentence)
        for notice in desk.client.start().notices:
            desk.say(notice)
        self._part_from_another_base()
        chosen = desk.adapters.live(desk.base)
        try:
            desk.put_live(chosen)
        except UserError as error:
            desk.say(f"{error}; the base answers alone")
            desk.put_live({})
        self._trainings.tell_news()
        desk.teacher.start()

    def close(self) -> None:
        """Ends the session; a training that runs goes on, and the next session takes it up."""
        self._desk.teacher.close()
        self._desk.client.close()

    def submit(self, line: str) -> bool:
        """Does what a line asks for; whether it was done. A mistake is told as a `Problem`."""
        desk = self._desk
        desk.cancelled.clear()
        try:
            wanted = parse(line)
            if not (isinstance(wanted, SlashCommand) and wanted.name in ("yes", "no")):
                desk.asked = None
            if isinstance(wanted, Question):
                self._answer(wanted.text)
            elif wanted is not None:
                self._handlers[wanted.name](wanted)
        except UserError as error:
            desk.emit(events.SessionError(text=str(error), command=line.strip()))
            return False
        return True

    def edited(self, request: events.EditRequest, text: str) -> bool:
        """Takes what came of an `EditRequest`; whether it was stored."""
        try:
            self._ratings.correct(text, request.example)
        except UserError as error:
            self._desk.emit(events.SessionError(text=str(error), command="/edit"))
            return False
        return True

    def remember(self, line: str) -> None:
        """Adds a line to the input history, unless it seems to hold a secret."""
        if not find_secrets(line):
            with contextlib.suppress(UserError):  # a history is no reason to stop a chat
                self._desk.conversation.remember(line)

    def history(self) -> list[str]:
        """The input lines of this and earlier sessions, oldest first."""
        return self._desk.conversation.history()

    def cancel(self) -> None:
        """Ends the answer under way, or the waiting for a training."""
        self._desk.cancelled.set()
        self._desk.client.cancel()

    def teacher_changed(self) -> None:
        """For the teacher's `on_change`."""
        self._trainings.tell_news()

    def _part_from_another_base(self) -> None:
        """What another model said is no context for this one, nor its to be rated."""
        desk = self._desk
        others = {turn.base for turn in desk.conversation.said(1)} - {None, desk.base}
        if others:
            desk.conversation.new()
            desk.say(f"a new conversation: the last one was with {others.pop()}")

    # -- asking ------------------------------------------------------------------------------

    def _answer(self, question: str) -> None:
        desk = self._desk
        self._follow_store()
        turn = Turn("user", question)
        answer = desk.client.answer(
            [*desk.context(desk.conversation.said()), turn],
            max_new_tokens=desk.settings.max_new_tokens,
            on_token=lambda text: desk.emit(events.Token(text=text)),
        )
        self._ratings.forget()
        desk.conversation.append(turn)
        desk.conversation.append(
            Turn("assistant", answer.text),
            base=desk.base,
            adapter=answer.adapter,
            cancelled=answer.cancelled,
        )
        for name in answer.adapters:
            desk.adapters.count_query(name)
        desk.emit(
            events.Answered(
                query=question,
                response=answer.text,
                adapter=answer.adapter,
                tokens=answer.tokens,
                seconds=round(answer.seconds, 3),
                cancelled=answer.cancelled,
            )
        )

    def _follow_store(self) -> None:
        """Loads what another session, or the command line, has made live meanwhile."""
        desk = self._desk
        wanted = desk.adapters.live(desk.base)
        if wanted in (desk.client.live, self._refused):
            return
        try:
            desk.put_live(wanted)
        except UserError as error:
            self._refused = wanted
            desk.say(f"{error}; the adapters stay as they were")

    # -- commands of the session itself ------------------------------------------------------

    def _new(self, command: SlashCommand) -> None:
        if command.words:
            raise command.usage()
        self._desk.conversation.new()
        self._ratings.forget()
        self._desk.say("a new conversation")

    def _yes(self, _: SlashCommand) -> None:
        if self._desk.asked is None:
            raise UserError("nothing was asked")
        (_text, action), self._desk.asked = self._desk.asked, None
        action()

    def _no(self, _: SlashCommand) -> None:
        if self._desk.asked is None:
            raise UserError("nothing was asked")
        self._desk.asked = None
        self._desk.say("left as it is")

    def _help(self, command: SlashCommand) -> None:
        names = command.words or list(COMMANDS)
        unknown = [name for name in names if name.removeprefix("/") not in COMMANDS]
        if unknown:
            parse(f"/{unknown[0].removeprefix('/')}")  # raises with the nearest one
        rows = [list(form) for name in names for form in written(name.removeprefix("/"))]
        self._desk.emit(events.TextTable(title="commands", headers=[], rows=rows))

    def _quit(self, _: SlashCommand) -> None:
        self.ended = True
