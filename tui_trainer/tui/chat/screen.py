"""The chat: ask, correct, and watch it learn."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.widgets import Input, Static

from tui_trainer.text.formats import clean
from tui_trainer.tui import keymap
from tui_trainer.tui.chat.completion import CommandForms
from tui_trainer.tui.chat.controller import chat_of
from tui_trainer.tui.chat.input_line import InputLine
from tui_trainer.tui.chat.teaching_panels import TeachingPanel
from tui_trainer.tui.chat.teaching_status import teaching_facts_of
from tui_trainer.tui.chat.transcript import Transcript
from tui_trainer.tui.chat.transcript_view import TranscriptView
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.dialogs.prompt import PromptDialog
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.keymap import Key
from tui_trainer.watch.snapshots import FolderView

_RATINGS = (
    ChoiceOption("good", "g", "good: right (weight 1)"),
    ChoiceOption("medium", "m", "medium: poor (weight 3), with a note"),
    ChoiceOption("critical", "c", "critical: wrong (weight 10), with a note"),
    ChoiceOption("edit", "e", "edit: write the right answer"),
    ChoiceOption("revise", "r", "revise: answer again, given a note"),
)
_NOTES = {
    "medium": ("What is poor about it?", "optional; stored with the rating"),
    "critical": ("What is wrong with it?", "optional; stored with the rating"),
    "revise": ("What is wrong with it?", "the model is given this note and answers again"),
}


class ChatScreen(Page):
    """The conversation, the input line, and how far the teaching is."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("chat")
    AUTO_FOCUS = "#ask"
    mode_name = "chat"

    def __init__(self) -> None:
        super().__init__()
        self._commands: CommandForms | None = None

    def body(self) -> ComposeResult:
        with Horizontal(id="talk-body"):
            with Vertical(id="talk-main"):
                yield TranscriptView()
                yield WrappedText(id="asked")
                with Horizontal(id="ask-row"):
                    yield Static("›", id="ask-mark", markup=False)
                    yield InputLine()
                yield WrappedText(id="ask-hint")
            with Vertical(id="talk-side"):
                yield TeachingPanel()

    def on_mount(self) -> None:
        from tui_trainer.repl.command_table import COMMANDS, usage_lines  # monitor does without

        self._commands = CommandForms({name: usage_lines(name) for name in COMMANDS})
        self._hint()

    def on_screen_resume(self) -> None:
        chat_of(self.app).start()
        self.query_one(TranscriptView).scroll_to_end()

    def on_descendant_focus(self) -> None:
        self.draw_keys()

    def on_descendant_blur(self) -> None:
        self.draw_keys()

    def sentence(self, view: FolderView) -> Content | None:
        talk = self._talk
        if talk.phase == "unavailable" and not talk.entries:
            return Content.assemble(
                (clean(talk.note), "bold $error"),
                "\n\nThe other screens work without it: press ",
                ("f1", "bold $accent"), " to ", ("f5", "bold $accent"), ".",
            )  # fmt: skip
        return None

    def refresh_chat(self) -> None:
        self.refresh_all()

    def take(self, view: FolderView) -> None:
        """The folder changes nothing here; the talk does."""
        talk = self._talk
        self.query_one(TranscriptView).show([*talk.entries, *talk.waiting])
        self.query_one(TeachingPanel).show(
            teaching_facts_of(talk, self._shown("watch_training"), self.session.marks)
        )
        self._show_asked(talk)
        self.draw_keys()

    def step_back(self) -> bool:
        chat = chat_of(self.app)
        if chat.cancel() or chat.decline():
            return True
        if self._typing:
            self.query_one(TranscriptView).focus()
            return True
        return False

    def listens_to(self, key: Key) -> bool:
        keys = self.session.keymap.overrides.get(key.id, key.keys)
        if self._typing:
            return not keymap.types_text(keys.split(",")[0])
        return True

    def wording(self, key: Key) -> tuple[str, int]:
        talk = self._talk
        if key.id == "agree":
            return (talk.ask.label, 2) if talk.ask else (key.label, 0)
        if key.id == "watch_training" and talk.under_way is None:
            return key.label, 0
        if key.id == "back":
            if talk.working is not None:
                return "stop the answer", 1
            if talk.ask is not None:
                return talk.ask.no_label, 2
            return ("leave the input", 2) if self._typing else (key.label, 16)
        if key.id == "type":
            return key.label, 0 if self._typing else 3
        return key.label, key.rank

    # -- keys ---------------------------------------------------------------------------------

    def action_say(self, line: str) -> None:
        chat_of(self.app).submit(line, remember=False)

    def action_rate(self) -> None:
        self.app.push_screen(ChoiceDialog("Rate the last answer", _RATINGS), self._rated)

    def action_agree(self) -> None:
        chat_of(self.app).agree()

    def action_watch(self) -> None:
        chat_of(self.app).watch_training()

    def action_history(self, direction: int) -> None:
        if self._typing:
            self.query_one(InputLine).recall(self._talk.history, direction)
        else:
            self.action_scroll_log(direction)

    def action_complete(self) -> None:
        line = self.query_one(InputLine)
        if self._typing and line.value.startswith("/") and self._commands is not None:
            line.value = self._commands.completed(line.value)
            line.cursor_position = len(line.value)
        else:
            self.focus_next()

    def action_page(self, direction: int) -> None:
        log = self.query_one(TranscriptView)
        log.scroll_relative(y=direction * max(1, log.size.height - 2), animate=False)

    def action_scroll_log(self, lines: int) -> None:
        self.query_one(TranscriptView).scroll_relative(y=lines, animate=False)

    def action_type(self, text: str = "") -> None:
        line = self.query_one(InputLine)
        line.focus()
        if text and not line.value:
            line.value = text
            line.cursor_position = len(text)

    # -- within -------------------------------------------------------------------------------

    @property
    def _talk(self) -> Transcript:
        return chat_of(self.app).transcript

    @property
    def _typing(self) -> bool:
        return isinstance(self.focused, InputLine)

    def _shown(self, id: str) -> str:
        return self.session.keymap.shown(next(key for key in keymap.KEYS if key.id == id))

    def _rated(self, command: str | None) -> None:
        if command is None:
            return
        if command not in _NOTES:
            self.action_say(f"/{command}")
            return
        needed = command == "revise"

        def say(note: str | None) -> None:
            if note is not None:
                self.action_say(f"/{command} {note}".strip())

        def check(note: str) -> str | None:
            return "write what is wrong" if needed and not note.strip() else None

        self.app.push_screen(PromptDialog(_NOTES[command][0], "", _NOTES[command][1], check), say)

    def _show_asked(self, talk: Transcript) -> None:
        bar = self.query_one("#asked", WrappedText)
        content = asked(talk, self._shown("agree"))
        bar.display = content is not None
        if content is not None:
            bar.update(content)

    @on(Input.Changed, "#ask")
    def _hint(self) -> None:
        text = self.query_one(InputLine).value
        hint = self._commands.hint(text) if self._commands is not None else ""
        self.query_one("#ask-hint", WrappedText).update(Content(clean(hint)))

    @on(Input.Submitted, "#ask")
    def _given(self) -> None:
        line = self.query_one(InputLine).take()
        if line.strip():
            chat_of(self.app).submit(line)
            self.query_one(TranscriptView).scroll_to_end()


def asked(talk: Transcript, yes_key: str) -> Content | None:
    """What stands above the input line: what waits for a yes, or what is under way."""
    if talk.ask is not None:
        said = bool(talk.entries) and talk.entries[-1].text == talk.ask.text
        text = "" if said else f"{clean(talk.ask.text)}   "
        return Content.assemble(
            ("! ", "bold $warning"), text,
            (yes_key, "bold $accent"), f" {talk.ask.label}   ",
            ("esc", "bold $accent"), f" {talk.ask.no_label}",
        )  # fmt: skip
    if talk.phase in ("loading", "opening") and (talk.waiting or talk.working or not talk.facts):
        note = f"{clean(talk.note)} …" if talk.note else "…"
        return Content.styled(f"loading the model: {note}", "$accent")
    if talk.phase == "unavailable":
        return Content.styled(clean(talk.note), "$error")
    if talk.working is not None:
        return Content.styled("stopping …" if talk.ending else "answering …", "$accent")
    return None
