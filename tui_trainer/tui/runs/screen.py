"""The runs screen: the list of runs, filtered and sorted."""

from __future__ import annotations

import time
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.content import Content

from tui_trainer.tui import keymap
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.filter_line import FilterLine
from tui_trainer.tui.common.page import Page, empty_folder_text
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.run_control import run_hints
from tui_trainer.tui.runs import run_rows
from tui_trainer.tui.runs.config_loader import ConfigLoader
from tui_trainer.tui.runs.list_status import ListStatus, ListStatusLine
from tui_trainer.tui.runs.run_rows import ColumnLayout, Sorting
from tui_trainer.tui.runs.run_table import RunHeading, RunTable
from tui_trainer.tui.runs.score_loader import ScoreLoader
from tui_trainer.watch.query import fields, query, run_scores
from tui_trainer.watch.query.query import ItemQuery, Query
from tui_trainer.watch.snapshots import FolderView, RunSummary

_REFRESH_SECONDS = 5.0  # of the ages; everything else changes with a snapshot
_HINT = "a name, loss<2, test.accuracy>0.9, status:running, age<1h, -excluded"


class RunsScreen(Page):
    """Every run of the folder, updated live; the cursor stays on its run when rows move."""

    CSS_PATH = "screen.tcss"
    BINDINGS: ClassVar = keymap.bindings("run", "runs")
    AUTO_FOCUS = "RunTable"
    mode_name = "runs"

    def __init__(self) -> None:
        super().__init__()
        self._query: ItemQuery[RunSummary] = Query()
        self._filter_text = ""  # of `_query`
        self._sorting = Sorting()
        self._layout: ColumnLayout = run_rows.layout_for(80)
        self._listed: list[RunSummary] = []
        # What the bottom line depends on: the run under the cursor, and how many are marked.
        self._enabled: tuple[object, ...] | None = None
        self._configs = ConfigLoader(lambda work: in_background("configurations", work))
        self._scores = ScoreLoader(lambda work: in_background("evaluations", work))

    def body(self) -> ComposeResult:
        yield FilterLine(_HINT)
        yield ListStatusLine()
        yield RunHeading()
        yield RunTable()

    def on_mount(self) -> None:
        self.set_interval(_REFRESH_SECONDS, self.refresh_all)

    def target(self) -> RunSummary | None:
        chosen = self._table.chosen
        return next((run for run in self.session.view.runs if run.path == chosen), None)

    def placeholder(self, view: FolderView) -> Content | None:
        return empty_folder_text(view, self.session.keymap, self.session.monitor_only)

    def show_snapshot(self, view: FolderView) -> None:
        if not self.is_current:
            return
        self._apply_filter(view)
        now, current = time.time(), self._query
        matching = [r for r in view.runs if current.matches(r, now, self._values(r.path))]
        sorting = self._sorting
        field = None if sorting.field is None else fields.BY_NAME.get(sorting.field)
        if sorting.score is not None:
            field = run_scores.field_of(sorting.score, self._scores.known)
        self._listed = fields.sort_items(matching, field, sorting.falling, now)
        foreign = any(run.kind != "run" or run.tool != "tui-trainer" for run in view.runs)
        # A score has a column where the filter or the order is about it.
        scores = run_scores.named_in(current, self._scores.names)
        if sorting.score is not None and sorting.score not in scores:
            scores.append(sorting.score)
        self._layout = run_rows.layout_for(self.size.width - 3, foreign, scores)
        self.query_one(RunHeading).show(self._layout, sorting)
        overlay = self.session.overlay
        self._table.show_rows(
            self._listed,
            overlay,
            self._layout,
            now,
            self.session.focus_path,
            self._scores.known if scores else {},
        )
        self.query_one(ListStatusLine).show(
            ListStatus(
                total=len(view.runs),
                shown=len(self._listed),
                read=view.read,
                loading=view.loading,
                marked=len(overlay),
                commandable=any(run.commandable for run in self._listed),
                order=sorting.text(),
                filter=self._filter_text,
            )
        )
        self._update_keys()

    def is_key_enabled(self, key: Key) -> bool:
        return run_hints.is_useful(key, self.target())

    def key_hint(self, key: Key) -> tuple[str, int]:
        return run_hints.hint_of(key, self.target())

    def step_back(self) -> bool:
        if not self._filter.close():
            return False
        self._table.focus()
        return True

    def action_filter(self) -> None:
        if not self.has_class("-placeholder"):  # there are runs
            self._filter.open()

    def action_move(self, step: int) -> None:
        self._table.move(self._table.cursor_row + step)

    def action_open(self) -> None:
        chosen = self._table.chosen
        if chosen is not None:
            self.session.focus_run(chosen)
            self.session.action_show("dashboard")

    def action_sort(self) -> None:
        self._sort_by(self._sorting.after(self._layout))

    def action_turn(self) -> None:
        self._sort_by(self._sorting.reversed())

    def action_mark_run(self) -> None:
        chosen = self._table.chosen
        if chosen is not None:
            self.session.toggle_overlay(chosen)
            self._table.move(self._table.cursor_row + 1)
            self.refresh_all()

    def action_unmark(self) -> None:
        for path in self.session.overlay:
            self.session.toggle_overlay(path)
        self.refresh_all()

    def action_compare(self) -> None:
        from tui_trainer.tui.runs.compare_screen import CompareScreen  # imported on first use

        chosen = self._table.chosen
        paths: list[Path] = list(self.session.overlay)
        if len(paths) < 2 and chosen is not None and chosen not in paths:
            paths.append(chosen)
        if len(paths) < 2:
            key = self.session.keymap.shown_by_id("mark_run")
            self.session.show_notice(
                f"mark at least two runs with {key} to compare them", "warning"
            )
        else:
            self.session.push_screen(CompareScreen(tuple(paths)))

    @on(FilterLine.Changed)
    def _filtered(self) -> None:
        self.refresh_all()

    @on(FilterLine.Done)
    def _filter_done(self) -> None:
        self._table.focus()
        self.call_after_refresh(self.refresh_all)

    @on(RunTable.Moved)
    def _update_keys(self) -> None:
        """Show the keys that have an effect on the run under the cursor."""
        run = self.target()
        state = None if run is None else (run.status, run.commandable, run.ours)
        enabled = (state, len(self.session.overlay) > 1)
        if enabled != self._enabled:
            self._enabled = enabled
            self.draw_keys()

    @on(RunTable.Opened)
    def _opened(self) -> None:
        self.action_open()

    @on(RunTable.Marked)
    def _mark_clicked(self) -> None:
        self.action_mark_run()

    @on(RunHeading.Clicked)
    def _sort_by_heading(self, message: RunHeading.Clicked) -> None:
        again = message.column == self._sorting.column
        self._sort_by(self._sorting.reversed() if again else run_rows.sorted_by(message.column))

    @property
    def _table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def _filter(self) -> FilterLine:
        return self.query_one(FilterLine)

    def _sort_by(self, sorting: Sorting) -> None:
        self._sorting = sorting
        self.refresh_all()

    def _apply_filter(self, view: FolderView) -> None:
        """Apply the typed filter; an invalid one leaves the list unchanged."""
        self._configs.add_known(view)
        typed = query.parse(self._filter.text, self._keys())
        done = lambda: self.app.call_from_thread(self.refresh_all)  # noqa: E731
        if typed.needs_config or typed.problem is not None:
            self._configs.read_missing(view.runs, done)
        if typed.needs_config or typed.problem is not None or self._sorting.score is not None:
            self._scores.read(view.runs, done)
        self._filter.show_problem(typed.problem)
        if typed.problem is None:
            names = (*fields.BY_NAME, *self._keys()) if self._filter.is_typed else ()
            now = time.time()
            self._query, self._filter_text = query.in_effect(
                typed,
                self._filter.text,
                names,
                lambda asked: any(asked.matches(r, now, self._values(r.path)) for r in view.runs),
            )

    def _keys(self) -> set[str]:
        """The names of the runs' own values: keys of their configurations, and scores."""
        return self._configs.keys() | self._scores.names

    def _values(self, path: Path) -> Mapping[str, Any]:
        """A run's own values that are read so far."""
        # A mapping that is only read; the type of `ChainMap` asks for those that can be changed.
        parts: list[Any] = [self._configs.get(path) or {}, self._scores.get(path)]
        return ChainMap(*parts)
