"""Runs side by side: the settings that differ, and the results."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.store.runs.evaluation_files import FoundScores
from tui_trainer.text import formats
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.dialog import STYLES, FullDialog, StylePaths
from tui_trainer.tui.common.session import AppSession, session_of
from tui_trainer.tui.runs.compare_table import contrast_text
from tui_trainer.watch.runs.details.run_details import read_scores
from tui_trainer.watch.runs.resolve import location_of
from tui_trainer.watch.snapshots import MetricTable, RunView

_NO_ROWS = MetricTable()
LETTERS = "ABCDEFGHI"
_REFRESH_SECONDS = 0.25
_SCORES_SECONDS = 5.0  # between two looks for new evaluations
_KEYS = " esc close   j k scroll   enter show on the dashboard"


class CompareScreen(FullDialog):
    """A full-screen dialog, updated while the runs train."""

    CSS_PATH: ClassVar[StylePaths] = [STYLES, "compare_screen.tcss"]
    BINDINGS: ClassVar = [
        Binding("v", "dismiss(None)", "close", show=False),
        Binding("enter", "overlay", "on the dashboard", show=False),
    ]

    def __init__(self, paths: tuple[Path, ...]) -> None:
        super().__init__()
        self._paths = paths
        self._drawn: tuple[object, ...] = ()
        self._shown: list[RunView] = []  # kept, so that the ids compared in `_draw` stay valid
        self._scores: dict[Path, FoundScores] = {}
        self._reading = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Static(id="compare-head", markup=False)
            with VerticalScroll():
                yield Static(id="compare-text", markup=False)
            yield Static(_KEYS, id="compare-keys", markup=False)

    def on_mount(self) -> None:
        self.set_interval(_REFRESH_SECONDS, self._draw)
        self.set_interval(_SCORES_SECONDS, self._read_scores)
        session = self._session
        for path in self._paths:
            if path not in session.overlay:  # so that all of them are read completely
                session.toggle_overlay(path)
        self._read_scores()
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_overlay(self) -> None:
        session = self._session
        self.dismiss(None)
        session.focus_run(self._paths[0])
        session.action_show("dashboard")

    @property
    def _session(self) -> AppSession:
        return session_of(self.app)

    def _read_scores(self) -> None:
        """Read the scores of the runs' evaluations in the background; they are drawn at the next
        interval."""
        rows = [run for run in self._session.view.runs if run.path in self._paths]
        if self._reading or not rows:
            return
        self._reading, app = True, self.app

        def work() -> None:
            found = {run.path: read_scores(location_of(run)) for run in rows}
            if app.is_running:
                app.call_from_thread(self._take_scores, found)

        in_background("evaluations", work)

    def _take_scores(self, found: dict[Path, FoundScores]) -> None:
        self._reading, self._scores = False, found

    def _draw(self) -> None:
        """Draw again if a run, its evaluations or the width have changed."""
        views, waiting = self._views()
        room = self.query_one(VerticalScroll).scrollable_content_region.width - 2
        scores = [self._scores.get(view.summary.path, FoundScores()) for view in views]
        tables = ((id(view.train), id(view.evals), view.summary) for view in views)
        drawn = (room, waiting, scores, *tables)
        if drawn == self._drawn or room < 1:
            return
        self._drawn, self._shown = drawn, views
        title = f" {formats.plural(len(views), 'run')} compared"
        note = f"   reading {formats.count(waiting)} of them …" if waiting else ""
        head = Content.assemble((title, "bold"), (note, "$warning"))
        self.query_one("#compare-head", Static).update(head)
        self.query_one("#compare-text", Static).update(contrast_text(views, LETTERS, room, scores))

    def _views(self) -> tuple[list[RunView], int]:
        """The view of each run, and how many are not read yet and have only their list row."""
        view = self._session.view
        whole = {run.summary.path: run for run in view.others}
        if view.focused is not None:
            whole.setdefault(view.focused.summary.path, view.focused)
        rows = {run.path: run for run in view.runs}
        found, waiting = [], 0
        for path in self._paths:
            if path in whole:
                found.append(whole[path])
            elif path in rows:
                found.append(RunView(rows[path], train=_NO_ROWS, evals=_NO_ROWS))
                waiting += 1
        return found, waiting
