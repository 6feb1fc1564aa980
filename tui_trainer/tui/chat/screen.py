"""The chat screen: questions, corrections, and the trainings on them."""

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
    """The conversation, the input line, and the state of feedback and training."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("chat")
    AUTO_FOCUS = "#ask"
    mode_name = "chat"

    def __init__(self) -> None:
        super().__init__()
        self._commands: CommandForms | None = None

    def body(self) -> ComposeResult:
        with Horizontal(id="chat-body"):
            with Vertical(id="chat-main"):
                yield TranscriptView()
                yield WrappedText(id="question-bar")
                with Horizontal(id="ask-row"):
                    yield Static("›", id="ask-mark", markup=False)
                    yield InputLine()
                yield WrappedText(id="ask-hint")
            with Vertical(id="chat-side"):
                yield TeachingPanel()

    def on_mount(self) -> None:
        from tui_trainer.repl.command_table import COMMANDS, usage_lines  # not for monitor

        self._commands = CommandForms({name: usage_lines(name) for name in COMMANDS})
        self._show_hint()

    def on_screen_resume(self) -> None:
        chat_of(self.app).start()
        self.query_one(TranscriptView).scroll_to_end()

    def on_descendant_focus(self) -> None:
        self.draw_keys()

    def on_descendant_blur(self) -> None:
        self.draw_keys()

    def placeholder(self, view: FolderView) -> Content | None:
        transcript = self._transcript
        if transcript.phase == "unavailable" and not transcript.entries:
            key = self.session.keymap.shown_while_typing("show_dashboard")
            return Content.assemble(
                (clean(transcript.note), "bold $error"),
                "\n\nThe other screens work without it: ",
                (key, "bold $accent"), " shows the dashboard.",
            )  # fmt: skip
        return None

    def refresh_chat(self) -> None:
        self.refresh_all()

    def show_snapshot(self, view: FolderView) -> None:
        """Show the transcript; the folder of runs has no effect on this screen."""
        transcript = self._transcript
        self.query_one(TranscriptView).show([*transcript.entries, *transcript.queued_entries])
        self.query_one(TeachingPanel).show(
            teaching_facts_of(
                transcript, self.session.keymap.shown_by_id("watch_training"), self.session.marks
            )
        )
        self._show_question_bar(transcript)
        self.draw_keys()

    def step_back(self) -> bool:
        chat = chat_of(self.app)
        if chat.cancel() or chat.decline():
            return True
        if self._typing:
            self.query_one(TranscriptView).focus()
            return True
        return False

    def is_key_enabled(self, key: Key) -> bool:
        return not (self._typing and self.session.keymap.types_text(key))

    def key_hint(self, key: Key) -> tuple[str, int]:
        transcript = self._transcript
        if key.id == "agree":
            return (transcript.question.label, 2) if transcript.question else (key.label, 0)
        if key.id == "watch_training" and transcript.current_training is None:
            return key.label, 0
        if key.id == "back":
            if transcript.current_line is not None:
                return "stop the answer", 1
            if transcript.question is not None:
                return transcript.question.no_label, 2
            return ("leave the input", 2) if self._typing else (key.label, 16)
        if key.id == "type":
            return key.label, 0 if self._typing else 3
        return key.label, key.rank

    # -- keys ---------------------------------------------------------------------------------

    def action_submit(self, line: str) -> None:
        chat_of(self.app).submit(line, remember=False)

    def action_rate(self) -> None:
        self.app.push_screen(ChoiceDialog("Rate the last answer", _RATINGS), self._rated)

    def action_confirm(self) -> None:
        chat_of(self.app).confirm()

    def action_watch(self) -> None:
        chat_of(self.app).watch_training()

    def action_history(self, direction: int) -> None:
        if self._typing:
            self.query_one(InputLine).recall(self._transcript.history, direction)
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
    def _transcript(self) -> Transcript:
        return chat_of(self.app).transcript

    @property
    def _typing(self) -> bool:
        return isinstance(self.focused, InputLine)

    def _rated(self, command: str | None) -> None:
        if command is None:
            return
        if command not in _NOTES:
            self.action_submit(f"/{command}")
            return
        needed = command == "revise"

        def decide(note: str | None) -> None:
            if note is not None:
                self.action_submit(f"/{command} {note}".strip())

        def check(note: str) -> str | None:
            return "write what is wrong" if needed and not note.strip() else None

        title, hint = _NOTES[command]
        self.app.push_screen(PromptDialog(title, "", hint, check), decide)

    def _show_question_bar(self, transcript: Transcript) -> None:
        bar = self.query_one("#question-bar", WrappedText)
        content = question_bar_text(transcript, self.session.keymap.shown_by_id("agree"))
        bar.display = content is not None
        if content is not None:
            bar.update(content)

    @on(Input.Changed, "#ask")
    def _show_hint(self) -> None:
        text = self.query_one(InputLine).value
        hint = self._commands.hint(text) if self._commands is not None else ""
        self.query_one("#ask-hint", WrappedText).update(Content(clean(hint)))

    @on(Input.Submitted, "#ask")
    def _submitted(self) -> None:
        line = self.query_one(InputLine).pop_text()
        if line.strip():
            chat_of(self.app).submit(line)
            self.query_one(TranscriptView).scroll_to_end()


def question_bar_text(transcript: Transcript, yes_key: str) -> Content | None:
    """The text above the input line: the open question, or what is in progress; None for nothing.

    `yes_key` is the key that confirms a question.
    """
    if transcript.question is not None:
        shown = bool(transcript.entries) and transcript.entries[-1].text == transcript.question.text
        text = "" if shown else f"{clean(transcript.question.text)}   "
        return Content.assemble(
            ("! ", "bold $warning"), text,
            (yes_key, "bold $accent"), f" {transcript.question.label}   ",
            ("esc", "bold $accent"), f" {transcript.question.no_label}",
        )  # fmt: skip
    wanted = transcript.queued_entries or transcript.current_line or not transcript.facts
    if transcript.phase in ("loading", "opening") and wanted:
        note = f"{clean(transcript.note)} …" if transcript.note else "…"
        return Content.styled(f"loading the model: {note}", "$accent")
    if transcript.phase == "unavailable":
        return Content.styled(clean(transcript.note), "$error")
    if transcript.current_line is not None:
        return Content.styled("stopping …" if transcript.cancelling else "answering …", "$accent")
    return None
