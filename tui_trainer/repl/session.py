"""A chat session: text in, events out, independent of any screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.sampling import ChatSettings
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.training import OPEN_STATES, TeachingSettings, TrainingNews
from tui_trainer.repl.adapter_commands import AdapterCommands
from tui_trainer.repl.command_table import COMMANDS, usage_lines
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.conversation_commands import ConversationCommands
from tui_trainer.repl.feedback_commands import FeedbackCommands
from tui_trainer.repl.parse import Question, SlashCommand, parse
from tui_trainer.repl.protocols import BackgroundTrainer, ChatModel
from tui_trainer.repl.rating_commands import RatingCommands
from tui_trainer.repl.settings_commands import SettingsCommands
from tui_trainer.repl.training_commands import TrainingCommands
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.feedback.conversations import ConversationStore
from tui_trainer.store.feedback.feedback_store import FeedbackStore
from tui_trainer.store.feedback.secret_scan import find_secrets


class ChatSession:
    """One user's session with a model.

    `submit` blocks until the line is executed: call it from one thread at a time. `cancel` may
    be called from any. Events come from the thread that submits and from the trainer's.
    """

    def __init__(
        self,
        client: ChatModel,
        trainer: BackgroundTrainer,
        feedback: FeedbackStore,
        adapters: AdapterStore,
        conversation: ConversationStore,
        settings: TeachingSettings,
        emit: Callable[[events.Event], None],
        chat: ChatSettings | None = None,
    ) -> None:
        """`trainer` must call `training_changed`, and read `settings` each time it needs them."""
        self._context = SessionContext(
            client,
            trainer,
            feedback,
            adapters,
            conversation,
            settings,
            emit,
            chat or ChatSettings(),
        )
        self._ratings = RatingCommands(self._context)
        self._conversation = ConversationCommands(
            self._context, self._load_changed_adapters, self._ratings.reset
        )
        self._trainings = TrainingCommands(self._context)
        groups = (
            self._conversation,
            self._ratings,
            self._trainings,
            FeedbackCommands(self._context, self._ratings.correct),
            AdapterCommands(self._context),
            SettingsCommands(self._context),
        )
        self._handlers: dict[str, Handler] = {
            "yes": self._yes,
            "no": self._no,
            "help": self._help,
            "quit": self._quit,
        }
        for group in groups:
            self._handlers |= group.handlers()
        self._unloadable: dict[str, float] | None = None  # active adapters that failed to load
        self.ended = False
        """Whether the user has left the session (`/quit`)."""

    @property
    def context(self) -> SessionContext:
        """Model, trainer and stores, for a screen that shows them."""
        return self._context

    @property
    def settings(self) -> TeachingSettings:
        """The current teaching settings."""
        return self._context.settings

    @property
    def live(self) -> dict[str, float]:
        """The active adapters with their weights."""
        return self._context.adapters.live(self._context.base)

    @property
    def training(self) -> bool:
        """Whether a training is queued or running."""
        return any(r.state in OPEN_STATES for r in self._context.trainer.trainings())

    def start(self) -> None:
        """Load the base and the adapters that were active last, and start the trainer; blocks.

        Where the adapters cannot be loaded, emits a notice and uses the base alone. Raises
        `UserError` where the base cannot be loaded.
        """
        context = self._context
        for sentence in context.adapters.drop_missing_live(context.base):
            context.emit_notice(sentence)
        for notice in context.client.start().notices:
            context.emit_notice(notice)
        self._start_over_for_another_base()
        chosen = context.adapters.live(context.base)
        try:
            context.activate(chosen)
        except UserError as error:
            context.emit_notice(f"{error}; no adapter is active")
            context.activate({})
        self._conversation.emit_continued()
        context.emit_buffer(context.trainer.buffer())
        context.trainer.start()

    def close(self) -> None:
        """End the session; a running training continues, and the next session follows it."""
        self._context.trainer.close()
        self._context.client.close()

    def submit(self, line: str) -> bool:
        """Execute a line and return whether it succeeded. Errors are emitted as `SessionError`."""
        context = self._context
        context.cancelled.clear()
        try:
            parsed = parse(line)
            if not (isinstance(parsed, SlashCommand) and parsed.name in ("yes", "no")):
                context.pending_action = None
            if isinstance(parsed, Question):
                self._conversation.ask(parsed.text)
            elif parsed is not None:
                self._handlers[parsed.name](parsed)
        except UserError as error:
            context.emit(events.SessionError(text=str(error), command=line.strip()))
            return False
        return True

    def edited(self, request: events.EditRequest, text: str) -> bool:
        """Store the result of an `EditRequest` and return whether it was stored."""
        try:
            self._ratings.correct(text, request.example)
        except UserError as error:
            self._context.emit(events.SessionError(text=str(error), command="/edit"))
            return False
        return True

    def remember(self, line: str) -> None:
        """Add a line to the input history, unless it looks like a secret."""
        if not find_secrets(line):
            # A history that cannot be written does not stop the chat.
            with contextlib.suppress(UserError):
                self._context.conversation.remember(line)

    def history(self) -> list[str]:
        """The input lines of this and earlier sessions, oldest first."""
        return self._context.conversation.history()

    def cancel(self) -> None:
        """Cancel the answer that is being generated, or the wait for a training."""
        self._context.cancelled.set()
        self._context.client.cancel()

    def training_changed(self, news: TrainingNews) -> None:
        """Emit what has changed; for the trainer's `on_change`."""
        self._trainings.emit_changes(news)

    def _start_over_for_another_base(self) -> None:
        """Start a new conversation where the last one used another base, whose answers are
        neither context for this base nor rated as its own."""
        context = self._context
        others = {turn.base for turn in context.conversation.recorded(1)} - {None, context.base}
        if others:
            context.conversation.new()
            context.emit_notice(f"a new conversation is started: the last one used {others.pop()}")

    # -- asking ------------------------------------------------------------------------------

    def _load_changed_adapters(self) -> None:
        """Load the adapters that another session or the command line has activated."""
        context = self._context
        wanted = context.adapters.live(context.base)
        if wanted in (context.client.live, self._unloadable):
            return
        try:
            context.activate(wanted)
        except UserError as error:
            self._unloadable = wanted
            context.emit_notice(f"{error}; the active adapters are unchanged")

    # -- commands of the session itself ------------------------------------------------------

    def _yes(self, _: SlashCommand) -> None:
        if self._context.pending_action is None:
            raise UserError("there is nothing to confirm")
        (_text, action), self._context.pending_action = self._context.pending_action, None
        action()

    def _no(self, _: SlashCommand) -> None:
        if self._context.pending_action is None:
            raise UserError("there is nothing to confirm")
        self._context.pending_action = None
        self._context.emit_notice("nothing is changed")

    def _help(self, command: SlashCommand) -> None:
        names = command.arguments or list(COMMANDS)
        unknown = [name for name in names if name.removeprefix("/") not in COMMANDS]
        if unknown:
            parse(f"/{unknown[0].removeprefix('/')}")  # raises with the nearest one
        rows = [list(form) for name in names for form in usage_lines(name.removeprefix("/"))]
        self._context.emit(events.TextTable(title="commands", headers=[], rows=rows))

    def _quit(self, _: SlashCommand) -> None:
        self.ended = True
