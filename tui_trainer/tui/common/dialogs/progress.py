"""A dialog for long work, with its stage, its progress and a key that stops it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import ClassVar, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.markup import meter
from tui_trainer.tui.common.wrapped_text import WrappedText

_BAR = 50
Result = TypeVar("Result")
# Called with the current stage and the progress (0..1, or None where unknown); raises `UserError`
# where the user has stopped the work.
Report = Callable[[str, float | None], None]


class ProgressDialog(Dialog[Result]):
    """Returns the result of the work; None where it failed (shown as a notice) or was stopped."""

    BINDINGS: ClassVar = [Binding("escape", "end", "stop", show=False)]

    class Reported(Message):
        """The work has made progress."""

        def __init__(self, text: str, share: float | None) -> None:
            super().__init__()
            self.text = text
            self.share = share

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ProgressDialog.Reported)

    class Done(Message):
        """The work has finished; `problem` says why it failed."""

        def __init__(self, result: object, problem: str | None) -> None:
            super().__init__()
            self.result = result
            self.problem = problem

    def __init__(self, title: str, work: Callable[[Report], Result]) -> None:
        """`work` runs in a thread and may raise `UserError`."""
        super().__init__()
        self._title = title
        self._work = work
        self._ended = threading.Event()

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield WrappedText(clean(self._title), classes="question")
            yield WrappedText(id="stage")
            yield Static("", markup=False, id="bar")
            yield Static(Content.assemble(("esc ", "bold $accent"), "stop"), classes="keys")

    def on_mount(self) -> None:
        in_background("work", self._run)

    def action_end(self) -> None:
        self._ended.set()
        self.query_one("#stage", WrappedText).update("stopping …")

    def on_click(self) -> None:  # type: ignore[override]
        """A click beside the dialog does not stop long work."""

    @on(Reported)
    def _show(self, message: Reported) -> None:
        if not self._ended.is_set():
            self.query_one("#stage", WrappedText).update(Content(clean(message.text)))
        if message.share is not None:
            self.query_one("#bar", Static).update(meter(message.share, _BAR))

    @on(Done)
    def _finish(self, message: Done) -> None:
        if message.problem is not None and not self._ended.is_set():
            self.app.notify(clean(message.problem), severity="error", markup=False)
        self.finish(message.result)  # type: ignore[arg-type]

    def _run(self) -> None:
        try:
            result = self._work(self._report)
        except Exception as error:
            self.post_message(self.Done(None, error_text(error)))
        else:
            self.post_message(self.Done(result, None))

    def _report(self, text: str, share: float | None) -> None:
        if self._ended.is_set():
            raise UserError("stopped by the user", 1)
        self.post_message(self.Reported(text, share))
