"""A dialog to edit the description and the tags of an adapter."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store.adapters.adapter_store import check_tag
from tui_trainer.text.formats import clean
from tui_trainer.tui.adapters import background_tasks
from tui_trainer.tui.common.background import Post, in_background
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.wrapped_text import WrappedText

_HINT = "tags are words, separated by spaces; an empty line removes what it had"


class EditDialog(Dialog[None]):
    """Stays open until the changes are saved, so that nothing typed is lost with an error."""

    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "close", show=False),
        Binding("down", "app.focus_next", "next field", show=False),
        Binding("up", "app.focus_previous", "previous field", show=False),
    ]
    AUTO_FOCUS = "#description"

    class Saved(Message):
        """The changes were saved, or could not be: `problem` says why."""

        def __init__(self, dialog: EditDialog, problem: str | None) -> None:
            super().__init__()
            self.dialog = dialog
            self.problem = problem

    def __init__(self, info: AdapterInfo, post: Post) -> None:
        """`post` posts `Saved` to the screen below, which calls `saved` if this is still open."""
        super().__init__()
        self.info = info
        self._post = post
        self._saving = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield WrappedText(f"Edit {clean(self.info.name)}", classes="question")
            yield Static("description", classes="label")
            yield _field(self.info.description, "description")
            yield Static("tags", classes="label")
            yield _field(" ".join(self.info.tags), "tags")
            yield WrappedText(_HINT, classes="hint")
            yield Static(
                Content.assemble(("enter ", "bold $accent"), "save   ", ("tab ", "bold $accent"),
                                 "next field   ", ("esc ", "bold $accent"), "cancel"),
                classes="keys",
            )  # fmt: skip

    def saved(self, problem: str | None) -> None:
        """Close the dialog, or show why the changes could not be saved."""
        self._saving = False
        self._show_hint(problem)
        if problem is None:
            self.finish(None)

    @on(Input.Changed)
    def _typed(self) -> None:
        if not self._saving:
            self._show_hint(tags_problem(self.query_one("#tags", Input).value))

    @on(Input.Submitted)
    def _submitted(self) -> None:
        tags = self.query_one("#tags", Input).value
        if self._saving or tags_problem(tags) is not None:
            return
        self._saving = True
        self.query_one(".hint", WrappedText).update("saving …")
        description = self.query_one("#description", Input).value

        def save() -> None:
            problem = background_tasks.edit(self.info, description, tags_in(tags))
            self._post(self.Saved(self, problem))

        in_background("adapter", save)

    def _show_hint(self, problem: str | None) -> None:
        hint = self.query_one(".hint", WrappedText)
        hint.set_class(problem is not None, "-wrong")
        hint.update(_HINT if problem is None else clean(problem))


def _field(text: str, id: str) -> Input:
    """A field in which typing continues the text; by default it replaces all of it."""
    return Input(text, compact=True, id=id, classes="field", select_on_focus=False)


def tags_in(text: str) -> list[str]:
    """The tags in a typed line: words, separated by spaces or commas."""
    return list(dict.fromkeys(text.replace(",", " ").split()))


def tags_problem(text: str) -> str | None:
    """What is wrong with the tags in a typed line, or None."""
    try:
        for tag in tags_in(text):
            check_tag(tag)
    except UserError as error:
        return str(error)
    return None
