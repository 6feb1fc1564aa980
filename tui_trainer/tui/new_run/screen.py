"""The form for a new run, checked while it is edited."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widget import AwaitMount, Widget
from textual.widgets import Button, Static

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import run_folder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui import keymap
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.messages import RunFailedToStart, RunMade
from tui_trainer.tui.new_run import fields, layout
from tui_trainer.tui.new_run.field_row import FieldRow
from tui_trainer.tui.new_run.fields import CheckedForm
from tui_trainer.tui.new_run.fold import FieldFold
from tui_trainer.tui.new_run.layout import Section
from tui_trainer.tui.new_run.schedule_preview import schedule_chart, schedule_line
from tui_trainer.tui.run_charts.chart_pane import ChartPane
from tui_trainer.watch.snapshots import FolderView

_READY = "ready to start"
_LINE_WIDTH = 32
_CHECK_DELAY = 0.1  # seconds after the last key; looking for files on a slow disk takes a while


class FormScroll(VerticalScroll, inherit_bindings=False):
    """A scrolled part in which the arrow keys move between fields. The fields scroll above the
    chart; in short terminals fields and chart scroll together."""

    BINDINGS: ClassVar = [
        Binding("pageup", "page_up", "back", show=False),
        Binding("pagedown", "page_down", "forward", show=False),
    ]


class NewRunScreen(Page):
    """Fields from the contracts, a chart of the schedule, and the start button."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("new")
    AUTO_FOCUS = "FieldRow Input"
    mode_name = "new"

    def __init__(self) -> None:
        super().__init__()
        self._checked = CheckedForm(None, {})
        self._starting = False
        self._noted = ""
        self._texts: dict[str, str] = {}
        self._base = example()
        self._first = fields.texts_of(self._base) if self._base is not None else {}

    def body(self) -> ComposeResult:
        with FormScroll(id="form", can_focus=False):
            with FormScroll(id="fields", can_focus=False):
                yield from self._fields(layout.EVERYDAY)
                yield FieldFold(id="fold")
                yield Vertical(id="more")
            yield ChartPane(id="schedule")
        yield WrappedText(id="about")
        with Horizontal(id="start-line"):
            yield Button("Start run", id="start", compact=True)
            yield WrappedText(id="start-note")

    def _fields(self, sections: tuple[Section, ...]) -> Iterator[Widget]:
        known = {field.key: field for field in fields.fields()}
        for title, keys in sections:
            yield Static(title, classes="section", markup=False)
            for key in keys:
                yield FieldRow(known[key], self._first.get(key, ""))

    def on_mount(self) -> None:
        self.query_one("#schedule").can_focus = False
        self.query_one("#more").display = False
        self.use_theme()
        self._check()

    def on_screen_resume(self) -> None:
        self.call_after_refresh(self._fill)

    def _fill(self) -> None:
        """Fill the form with the settings of a run that is to be started again."""
        job, self.session.template = self.session.template, None
        if job is None or job == self._checked.job:  # then the texts stay as they were typed
            return
        self._base, self._first = job, fields.texts_of(job)
        for row in self.query(FieldRow):
            row.put(self._first[row.field.key])
        for row in self.query(FieldRow)[:1]:
            row.enter()
        self._check()

    def use_theme(self) -> None:
        """Apply the colours of the current theme to the chart."""
        self.query_one(ChartPane).use(self.session.palette, self.session.marks)

    def is_key_enabled(self, key: Key) -> bool:
        return not self.session.keymap.types_text(key)

    def show_snapshot(self, view: FolderView) -> None:
        """Update the note: it depends on the size of the terminal, not on the runs."""
        if self._noted.startswith(_READY) and not self._starting:
            self._note(self._summary())

    def key_hint(self, key: Key) -> tuple[str, int]:
        label = "less" if key.id == "more" and self.query_one("#more").display else key.label
        return label, key.rank

    def action_start(self) -> None:
        self._start()

    def action_look(self) -> None:
        """Look at the data of the form's job."""
        self._texts = {}  # files may have appeared or disappeared since
        self._check()
        if self._checked.job is None:
            self._focus_error()
            return
        from tui_trainer.tui.new_run.data_screen import DataScreen  # rarely needed

        self.session.push_screen(DataScreen(self._checked.job))

    def action_turn(self, step: int) -> None:
        """Select the next choice of the focused field."""
        row = self.focused.parent if self.focused is not None else None
        if isinstance(row, FieldRow):
            row.turn(step)

    @on(FieldFold.Toggled)
    async def action_more(self) -> None:
        """Open the further settings and go there, or fold them."""
        opened = not self.query_one("#more").display
        await self._open(opened)
        fold = self.query_one(FieldFold)
        fold.focus(scroll_visible=not opened)
        if opened:
            self.call_after_refresh(fold.scroll_visible, top=True)

    def _open(self, opened: bool) -> AwaitMount:
        """Show or hide the further fields; they are created when first shown, as they are many."""
        more = self.query_one("#more")
        missing = opened and not more.children
        mounting = more.mount_all(self._fields(layout.MORE) if missing else ())
        if missing:
            self._show_rows()
        more.display = opened
        self._show_fold()
        self.draw_keys()
        return mounting

    @on(FieldRow.Edited)
    def _edited(self) -> None:
        self.set_timer(_CHECK_DELAY, self._check)

    @on(Button.Pressed, "#start")
    def _start(self) -> None:
        self._texts = {}  # files may have appeared or disappeared since
        self._check()
        job = self._checked.job
        if job is None:
            self._focus_error()
        if self._starting or job is None:
            return
        self._starting = True
        self._note("reading the data and creating the run folder …")
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
        """Create the run folder, in a thread: hashing the data may take long."""
        try:
            made = run_folder.create_run(folder, job)
        except UserError as error:
            self.post_message(RunFailedToStart(str(error)))
        else:
            self.post_message(RunMade(made))

    def _check(self) -> None:
        """Check the form, unless its texts are the same as at the last check."""
        texts = {**self._first, **{row.field.key: row.text for row in self.query(FieldRow)}}
        if texts == self._texts:
            return
        self._texts = texts
        before, checked = self._checked, fields.check(texts, Path.cwd(), self._base)
        self._checked = checked
        self._show_rows()
        if layout.FOLDED & (checked.errors.keys() - before.errors.keys()):
            self._open(True)
        self._show_fold()
        if checked.job != before.job or before.job is None:
            self.query_one("#schedule", ChartPane).show_spec(schedule_chart(checked.job))
        self.query_one("#start", Button).disabled = checked.job is None
        if not self._starting:
            self._note(self._summary(), wrong=bool(checked.errors))

    def _focus_error(self) -> None:
        """Focus the first field with an error, also in the folded part."""
        errors = self._checked.errors.keys()
        row = next((row for row in self.query(FieldRow) if row.field.key in errors), None)
        if row is not None:
            if row.field.key in layout.FOLDED:
                self._open(True)
            self.call_after_refresh(row.enter)

    def _show_rows(self) -> None:
        """Show the fields that have an effect, with their errors and warnings."""
        used = fields.effective(self._texts)
        for row in self.query(FieldRow):
            row.display = row.field.key in used
            key = row.field.key
            row.show_problem(self._checked.errors.get(key), self._checked.warnings.get(key))
        self._describe()

    @on(events.DescendantFocus)
    def _describe(self) -> None:
        """Show the whole hint of the focused field: the line beside it may be cut."""
        row = self.focused.parent if self.focused is not None else None
        about = self.query_one("#about", WrappedText)
        about.update(Content(row.hint if isinstance(row, FieldRow) else ""))
        about.set_class(isinstance(row, FieldRow) and row.has_class("-wrong"), "-wrong")

    def _show_fold(self) -> None:
        used = fields.effective(self._texts) & layout.FOLDED
        changed = sum(
            fields.changed(field, self._texts.get(field.key, ""))
            for field in fields.fields()
            if field.key in used
        )
        opened = self.query_one("#more").display
        self.query_one(FieldFold).show(opened, changed, len(used & self._checked.errors.keys()))

    def _summary(self) -> str:
        job = self._checked.job
        if job is None or self._checked.warnings or not self.has_class("-short"):
            return summary_of(self._checked)
        return f"{_READY}   {schedule_line(job, _LINE_WIDTH, self.session.marks)}"

    def _note(self, text: str, wrong: bool = False) -> None:
        if text == self._noted:
            return
        self._noted = text
        note = self.query_one("#start-note", WrappedText)
        note.set_class(wrong, "-wrong")
        note.update(Content(clean(text)))


def summary_of(checked: CheckedForm) -> str:
    """The first error or warning for the line beside the button, or "ready to start"."""
    found = checked.errors or checked.warnings
    if not found:
        return _READY
    key, message = next(iter(found.items()))
    label = next((f"{field.label}: " for field in fields.fields() if field.key == key), "")
    more = f" (and {formats.count(len(found) - 1)} more)" if len(found) > 1 else ""
    return f"{'' if checked.errors else f'{_READY}, but check '}{label}{message}{more}"


def example() -> Job | None:
    """The example job; None if it is missing or invalid."""
    try:
        return jobs.load_job(paths.example_job())
    except UserError:
        return None
