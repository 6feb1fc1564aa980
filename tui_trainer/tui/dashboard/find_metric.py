"""A dialog that finds a chart by the name of its metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, OptionList, Static

from tui_trainer.text import formats
from tui_trainer.tui.common.dialogs.dialog import Dialog
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.run_charts.metrics import Metric


class FindMetric(Dialog[str]):
    """Returns the id of the chosen metric, or None where it was closed."""

    BINDINGS: ClassVar = [
        Binding("escape", "dismiss(None)", "close", show=False),
        Binding("down", "move(1)", "down", show=False, priority=True),
        Binding("up", "move(-1)", "up", show=False, priority=True),
    ]
    AUTO_FOCUS = "Input"
    CSS = """
    FindMetric .dialog OptionList > .option-list--option-highlighted {
        background: $accent;
        color: $background;
    }
    """

    def __init__(self, metrics: Sequence[Metric], pins: Sequence[str]) -> None:
        super().__init__()
        self._metrics = metrics
        self._pins = pins
        self._found = list(metrics)

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(
                f"find one of {formats.plural(len(self._metrics), 'chart')}", classes="question"
            )
            yield Input(placeholder="part of its name", compact=True, id="answer")
            yield OptionList(*self._lines(), compact=True)
            yield Static("no chart matches", id="none", classes="hint")
            yield Static(
                Content.assemble(("enter ", "bold $accent"), "pin or unpin   ",
                                 ("esc ", "bold $accent"), "close"),
                classes="keys",
            )  # fmt: skip

    def on_mount(self) -> None:
        self.query_one(OptionList).can_focus = False
        self.query_one(OptionList).highlighted = 0
        self.query_one("#none").display = False

    def action_move(self, step: int) -> None:
        options = self.query_one(OptionList)
        if step > 0:
            options.action_cursor_down()
        else:
            options.action_cursor_up()

    @on(Input.Changed)
    def _typed(self, message: Input.Changed) -> None:
        self._found = matching(self._metrics, message.value)
        options = self.query_one(OptionList)
        options.clear_options()
        options.add_options(self._lines())
        options.highlighted = 0 if self._found else None
        self.query_one("#none").display = not self._found

    @on(Input.Submitted)
    def _submitted(self) -> None:
        at = self.query_one(OptionList).highlighted
        if at is not None and at < len(self._found):
            self.dismiss(self._found[at].id)

    @on(OptionList.OptionSelected)
    def _chosen(self, message: OptionList.OptionSelected) -> None:
        self.dismiss(self._found[message.option_index].id)

    def _lines(self) -> list[Content]:
        return [
            Content.assemble("* " if metric.id in self._pins else "  ", plain(metric.title))
            for metric in self._found
        ]


def matching(metrics: Sequence[Metric], text: str) -> list[Metric]:
    """The metrics whose title or id contains every word of `text`, those that begin with it first;
    if there are none, those that contain its letters in this order."""
    words, start = text.casefold().split(), text.casefold().strip()
    found = [metric for metric in metrics if all(word in _names(metric) for word in words)]
    if not found:
        found = [metric for metric in metrics if _in_order("".join(words), _names(metric))]
    return sorted(found, key=lambda metric: not metric.title.casefold().startswith(start))


def _names(metric: Metric) -> str:
    return f"{metric.title} {metric.id}".casefold()


def _in_order(letters: str, name: str) -> bool:
    rest = iter(name)
    return all(letter in rest for letter in letters)
