"""A dialog to try a classifier: a text is typed, and its classes are shown with probabilities."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import ClassVar, Protocol

from rich.cells import cell_len
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Input, Static

from tui_trainer.contracts.errors import error_text
from tui_trainer.contracts.predict import Prediction
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.background import Post, in_background
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.markup import meter, shorten
from tui_trainer.tui.common.panel import stack
from tui_trainer.tui.common.wrapped_text import WrappedText

_SHOWN = 8  # classes; the others are summed up
_LEAST_BAR = 10  # cells
_SHARE = 8  # cells of a probability, with a space before it


class ClassifierProcess(Protocol):
    """A loaded classifier."""

    def text(self, text: str) -> Prediction:
        """The prediction for one text. Raises `UserError`."""

    def close(self) -> None:
        """Stop it."""


# Loads a classifier; its argument is called with what is being loaded. Raises `UserError`.
Load = Callable[[Callable[[str], None]], ClassifierProcess]


class ClassifierDialog(Dialog[None]):
    """Shows the classes of the text in its input. The model is loaded and used in a thread; while
    it works, only the newest text waits."""

    BINDINGS: ClassVar = [Binding("escape", "dismiss(None)", "close", show=False)]

    class Status(Message):
        """What is being loaded; empty once texts are classified."""

        def __init__(self, text: str) -> None:
            super().__init__()
            self.text = text

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, ClassifierDialog.Status)

    class Classified(Message):
        """The prediction for a text."""

        def __init__(self, prediction: Prediction) -> None:
            super().__init__()
            self.prediction = prediction

    class Failed(Message):
        """The model cannot be loaded or used."""

        def __init__(self, problem: str) -> None:
            super().__init__()
            self.problem = problem

    def __init__(self, name: str, load: Load) -> None:
        super().__init__()
        self._adapter = name
        self._loader = load
        self._texts: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._prediction: Prediction | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield WrappedText(f"Classify a text with {clean(self._adapter)}", classes="question")
            yield Input(compact=True, id="answer", placeholder="a text, as in the training data")
            yield Static("", markup=False, id="classes")
            yield WrappedText("loading the model …", classes="hint")
            yield Static(Content.assemble(("esc ", "bold $accent"), "close"), classes="keys")

    def on_mount(self) -> None:
        load, texts, post = self._loader, self._texts, self.post_message
        in_background("classifier", lambda: _serve(load, texts, post))

    def on_unmount(self) -> None:
        self._texts.put(None)

    def on_resize(self) -> None:
        self._draw()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        if message.value.strip():
            self._texts.put(message.value)
        else:
            self._prediction = None
            self._draw()

    @on(Status)
    def _show_status(self, message: Status) -> None:
        self.query_one(".hint", WrappedText).update(clean(message.text))

    @on(Classified)
    def _show_prediction(self, message: Classified) -> None:
        found = message.prediction
        if not self.query_one(Input).value.strip():  # deleted meanwhile
            return
        self._prediction = found
        self.query_one(".hint", WrappedText).update(
            "the text is longer than the base can read; its end was not used" if found.cut else ""
        )
        self._draw()

    @on(Failed)
    def _show_problem(self, message: Failed) -> None:
        hint = self.query_one(".hint", WrappedText)
        hint.add_class("-wrong")
        hint.update(clean(message.problem))

    def _draw(self) -> None:
        classes = self.query_one("#classes", Static)
        found = self._prediction
        width = max(30, self.query_one(Input).size.width)
        known = found.probabilities if found is not None else None
        classes.update(class_bars(known, width) if known else Content(""))


def class_bars(probabilities: dict[str, float], width: int) -> Content:
    """A line for each class in `width` cells, the most probable first: name, bar, probability. The
    least probable ones are summed up in a last line."""
    ranked = sorted(probabilities.items(), key=lambda item: -item[1])
    shown, others = ranked[:_SHOWN], ranked[_SHOWN:]
    longest = max(cell_len(clean(label)) for label, _ in shown)
    name_width = min(longest, width - _LEAST_BAR - _SHARE - 1)
    bar_width = width - name_width - _SHARE - 1
    lines = []
    for index, (label, value) in enumerate(shown):
        name = shorten(clean(label), name_width)
        style, bar = ("bold", "$accent") if index == 0 else ("", "$accent 60%")
        lines.append(
            Content.assemble(
                (name + " " * (name_width - cell_len(name) + 1), style),
                meter(value, bar_width, bar),
                (f"{formats.share(value):>{_SHARE}}", style),
            )
        )
    if others:
        rest = formats.plural(len(others), "other class", "other classes")
        total = formats.share(sum(value for _, value in others))
        lines.append(Content.styled(f"{rest}: {total} together", "$faint"))
    return stack(*lines)


def _serve(load: Load, texts: queue.SimpleQueue[str | None], post: Post) -> None:
    """Load the classifier, then classify the newest text until there is None."""
    try:
        process = load(lambda text: _post_status(post, text))
    except Exception as error:
        post(ClassifierDialog.Failed(error_text(error)))
        return
    try:
        post(ClassifierDialog.Status(""))
        while (text := _newest(texts)) is not None:
            post(ClassifierDialog.Classified(process.text(text)))
    except Exception as error:
        post(ClassifierDialog.Failed(error_text(error)))
    finally:
        process.close()


def _post_status(post: Post, text: str) -> None:
    post(ClassifierDialog.Status(f"{text} …"))


def _newest(texts: queue.SimpleQueue[str | None]) -> str | None:
    """Wait for a text; return the last one that is queued, or None if the dialog is closed."""
    text = texts.get()
    while text is not None and not texts.empty():
        text = texts.get()
    return text
