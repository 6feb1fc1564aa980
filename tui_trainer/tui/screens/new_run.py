"""The form for a new run, checked while it is typed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Horizontal, VerticalScroll
from textual.content import Content
from textual.widgets import Button, Static

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs, paths, runs
from tui_trainer.tui import formfields, keymap
from tui_trainer.tui.bridge import in_background
from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.formfields import Checked
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.messages import RunFailedToStart, RunMade
from tui_trainer.tui.preview import schedule_chart, schedule_line
from tui_trainer.tui.screens.page import Page
from tui_trainer.tui.widgets.chart_pane import ChartPane
from tui_trainer.tui.widgets.form_row import FormRow
from tui_trainer.watch.view import FolderView

_EXAMPLE = "lighthouse.toml"
_READY = "ready to start"
_LINE_WIDTH = 32
_CHECK_DELAY = 0.1  # seconds after the last key; looking for files on a slow disk takes a while


class NewRun(Page):
    """Fields from the contracts, the schedule drawn beside them, and a button."""

    CSS_PATH = "new_run.tcss"
    BINDINGS: ClassVar = keymap.bindings("new")
    AUTO_FOCUS = "FormRow Input"
    place = "new"

    def __init__(self) -> None:
        super().__init__()
        self._checked = Checked(None, {})
        self._starting = False
        self._noted = ""
        self._texts: dict[str, str] = {}

    def body(self) -> ComposeResult:
        values = example()
        known = {field.key: field for field in formfields.fields()}
        with VerticalScroll(id="form", can_focus=False):
            for title, keys in formfields.SECTIONS:
                yield Static(title, classes="section", markup=False)
                for key in keys:
                    yield FormRow(known[key], values.get(key, ""))
            yield ChartPane(id="schedule")
        with Horizontal(id="start-line"):
            yield Button("Start run", id="start", compact=True)
            yield Static(id="start-note", markup=False)

    def on_mount(self) -> None:
        self.query_one("#schedule").can_focus = False
        self.use_theme()
        self._check()

    def use_theme(self) -> None:
        """Gives the chart the colours of the present theme."""
        self.query_one(ChartPane).use(self.session.palette, self.session.marks)

    def listens_to(self, key: Key) -> bool:
        keys = self.session.keymap.overrides.get(key.id, key.keys)
        return not keymap.types_text(keys.split(",")[0])

    def take(self, view: FolderView) -> None:
        """The form does not depend on the folder, only on the room there is."""
        if self._noted.startswith(_READY) and not self._starting:
            self._note(self._summary())

    def action_start(self) -> None:
        self._start()

    @on(FormRow.Edited)
    def _edited(self) -> None:
        self.set_timer(_CHECK_DELAY, self._check)

    @on(Button.Pressed, "#start")
    def _start(self) -> None:
        self._texts = {}  # files may have come or gone since
        self._check()
        job = self._checked.job
        if self._starting or job is None:
            return
        self._starting = True
        self._note("reading the data and making the run's folder …")
        folder = self.session.runs_dir
        in_background("make run", lambda: self._make(folder, job))

    @on(RunFailedToStart)
    def _not_made(self, message: RunFailedToStart) -> None:
        self._starting = False
        self._note(message.reason, wrong=True)

    @on(RunMade)
    def _made(self) -> None:
        self._starting = False
        self._note(_READY)

    def _make(self, folder: Path, job: Job) -> None:
        """In a thread: hashing the data may take long."""
        try:
            made = runs.create_run(folder, job)
        except UserError as error:
            self.post_message(RunFailedToStart(str(error)))
        except OSError as error:
            reason = f"the run cannot be made: {error.strerror or error}"
            self.post_message(RunFailedToStart(reason))
        else:
            self.post_message(RunMade(made))

    def _check(self) -> None:
        """Checks what is typed; what was said about the same texts stays."""
        rows = list(self.query(FormRow))
        texts = {row.field.key: row.text for row in rows}
        if texts == self._texts:
            return
        self._texts = texts
        checked = formfields.check(texts, Path.cwd())
        for row in rows:
            row.say(checked.errors.get(row.field.key))
        if checked.job != self._checked.job or self._checked.job is None:
            self.query_one("#schedule", ChartPane).show_spec(schedule_chart(checked.job))
        self._checked = checked
        self.query_one("#start", Button).disabled = checked.job is None
        if not self._starting:
            self._note(self._summary(), wrong=bool(checked.errors))

    def _summary(self) -> str:
        job = self._checked.job
        if job is None or self._checked.odd or not self.has_class("-short"):
            return summary_of(self._checked)
        return f"{_READY}   {schedule_line(job, _LINE_WIDTH, self.session.marks)}"

    def _note(self, text: str, wrong: bool = False) -> None:
        if text == self._noted:
            return
        self._noted = text
        note = self.query_one("#start-note", Static)
        note.set_class(wrong, "-wrong")
        note.update(Content(clean(text)))


def summary_of(checked: Checked) -> str:
    """The first mistake, whole, for the line beside the button; or that all is right."""
    if not checked.errors:
        return f"{_READY}   but: {checked.odd[0]}" if checked.odd else _READY
    key, error = next(iter(checked.errors.items()))
    label = next((f"{field.label}: " for field in formfields.fields() if field.key == key), "")
    more = f" (and {len(checked.errors) - 1} more)" if len(checked.errors) > 1 else ""
    return f"{label}{error}{more}"


def example() -> dict[str, str]:
    """The texts of the example job; none where it is not there or not whole."""
    try:
        return formfields.texts_of(jobs.load_job(paths.examples() / _EXAMPLE))
    except UserError:
        return {}
