"""Advice on runs without an advisor: part of the watcher's view, and never in its way."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.watch.folders import NEVER, PATIENCE, Sink, focused, is_focused, make_run, watching
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.record_values import RecordValues
from tui_trainer.contracts.advice import Advice, AdvisorSettings
from tui_trainer.tui.dashboard.advice_panel import AdvicePanel, advice_facts_of
from tui_trainer.watch.folder_watcher import FolderWatcher
from tui_trainer.watch.runs import background_advice
from tui_trainer.watch.runs.background_advice import BackgroundAdvice
from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
from tui_trainer.watch.snapshots import MISSING, FolderView, MetricTable, RunSummary, RunView
from tui_trainer.watch.tables.growing_table import GrowingTable


def write(path: Path, first: int, last: int, risen_from: int = 1 << 60) -> None:
    with path.open("a") as lines:
        for step in range(first, last):
            row = {"step": step, "train_loss": loss_at(step, risen_from), "lr": 1e-3}
            lines.write(json.dumps(row) + "\n")


def is_advised(view: FolderView) -> bool:
    return view.focused is not None and view.focused.advice_computed


def kinds(view: FolderView) -> list[str]:
    return [one.kind for one in focused(view).advice or ()]


def loss_at(step: int, risen_from: int) -> float:
    wobble = 0.02 * math.sin(step * 12.9898) + 0.01 * math.sin(step * 78.233)
    return 1 + 2 * math.exp(-step / 60) + wobble + 1.5 * (step >= risen_from)


@pytest.fixture
def judged_steps(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """The steps of the rows that advisors received, in order."""
    steps: list[int | None] = []
    observe = Advisor.observe

    def noted(self: Advisor, row: RecordValues) -> list[Advice]:
        steps.append(row.step)
        return observe(self, row)

    monkeypatch.setattr(Advisor, "observe", noted)
    return steps


def view_of(table: MetricTable) -> RunView:
    summary = RunSummary(Path("/runs/one"), "one", "one", "jsonl", "")
    return RunView(summary, train=table)


def table_of(rows: int, risen_from: int = 1 << 60) -> MetricTable:
    steps = np.arange(1.0, rows + 1)
    losses = np.array([loss_at(step, risen_from) for step in range(1, rows + 1)])
    return MetricTable({"step": steps, "loss": losses, "learning_rate": np.full(rows, 1e-3)})


@contextmanager
def at_work(settings: AdvisorSettings | None = None) -> Iterator[BackgroundAdvice]:
    advice = BackgroundAdvice(settings or AdvisorSettings(), lambda: None)
    try:
        yield advice
    finally:
        advice.stop()


def becomes(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def whole(sink: Sink, rows: int) -> RunView:
    """The run in the first view that had all of its rows."""
    return focused(next(one for one in sink.views if is_focused("other.jsonl", rows)(one)))


def test_the_run_is_handed_out_first_and_again_with_its_advice(tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        view = sink.wait(is_advised)
        first = whole(sink, 300)
    assert first.advice is None and not first.advice_computed
    assert kinds(view)[-1:] == ["divergence"]
    assert focused(view).train is first.train
    assert len([one for one in sink.views if is_advised(one)]) == 1


def test_advice_follows_a_run_that_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background_advice, "REST_SECONDS", 0.01)
    file = tmp_path / "other.jsonl"
    write(file, 1, 201)
    with watching(tmp_path) as (_, sink):
        assert kinds(sink.wait(is_advised)) == []
        write(file, 201, 301, risen_from=201)
        sink.wait(lambda view: "divergence" in kinds(view))


def test_a_run_with_an_advisor_of_its_own_keeps_its_advice(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "mine")
    (folder / "events.jsonl").write_text(
        json.dumps({"time": 0, "step": 0, "kind": "setup", "detail": {"advised": True}}) + "\n"
    )
    write(folder / "metrics.jsonl", 1, 301, risen_from=201)
    with watching(tmp_path) as (_, sink):
        view = focused(sink.wait(is_focused("mine", 300)))
    assert view.advice == () and not view.advice_computed
    with at_work() as advice:
        advice.request(view)
        assert advice.complete(view) is view


def test_settings_turn_it_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: ForeignAdvice, view: RunView) -> None:
        raise AssertionError("computed although it is turned off")

    monkeypatch.setattr(ForeignAdvice, "update", forbidden)
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    off = AdvisorSettings(enabled=False)
    sink = Sink()
    watcher = FolderWatcher(tmp_path, sink, poll_seconds=0.05, advisor=off)
    watcher.start()
    view = focused(sink.wait(is_focused("other.jsonl", 300)))
    watcher.stop()
    assert view.advice is None and view.warnings == ()


def test_a_long_run_is_judged_from_means_and_the_view_shows_of_how_many_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, judged_steps: list[int | None]
) -> None:
    monkeypatch.setattr(background_advice, "MOST_ROWS", 600)
    write(tmp_path / "other.jsonl", 1, 2002, risen_from=1601)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        run = focused(sink.wait(is_advised))
    assert len(run.train) == 2001
    assert run.advice_rows_per_mean == 4
    assert judged_steps == list(range(4, 2001, 4)), "each mean has the step of its last row"
    panel = AdvicePanel().draw(advice_facts_of(run, True, frozenset(), "", ""), 100, 20)
    assert "computed here from means of 4 rows" in panel.plain
    divergence = next(one for one in run.advice or () if one.kind == "divergence")
    assert 1601 <= divergence.step <= 1700


def test_the_advisor_receives_at_most_so_many_rows_and_a_growing_run_only_its_new_ones(
    judged_steps: list[int | None],
) -> None:
    growing, at_once = ForeignAdvice(most_rows=600), ForeignAdvice(most_rows=600)
    judged = []
    for rows in (900, 1100, 1199):
        judged.append(sum(1 for _ in growing.update(view_of(table_of(rows)))))
        assert growing.rows == rows // 2 and growing.rows_per_mean == 2
        assert judged_steps == list(range(2, rows + 1, 2))
    assert judged == [3, 0, 0], "slices of 128 rows"
    for _ in at_once.update(view_of(table_of(1199))):
        pass
    assert growing.reports == at_once.reports
    for _ in growing.update(view_of(table_of(1201))):
        pass
    assert (growing.rows, growing.rows_per_mean) == (300, 4)


def test_single_rows_after_merged_ones_are_merged_as_well(judged_steps: list[int | None]) -> None:
    """The end of a thinned table holds single rows, which scatter more than means do."""
    thin = GrowingTable(most=256)
    exact = table_of(1040)
    thin.extend({name: column[:1000] for name, column in exact.columns.items()})
    for row in range(1000, 1040):
        thin.extend({name: column[row : row + 1] for name, column in exact.columns.items()})
        thin.table()
    table = thin.table()
    assert table.weights is not None and {1, table.thinning} < set(table.weights.tolist())
    advice = ForeignAdvice()
    for _ in advice.update(view_of(table)):
        pass
    assert advice.rows_per_mean == table.thinning
    assert advice.rows == 1040 // table.thinning
    assert judged_steps[-1] == advice.rows * table.thinning, "the newest rows are not left out"


def test_means_leave_out_what_is_not_finite_and_keep_what_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nan = math.nan
    losses = np.array([1.0, nan, nan, nan, MISSING, MISSING, 2.0, 4.0])
    table = MetricTable({"step": np.arange(8.0), "loss": losses, "time": np.arange(8.0) * 10})
    seen = []

    def observe(self: Advisor, row: RecordValues) -> list[Advice]:
        seen.append((row.step, row.loss, row.nonfinite, row.time))
        return []

    monkeypatch.setattr(Advisor, "observe", observe)
    for _ in ForeignAdvice(most_rows=4).update(view_of(table)):
        pass
    assert seen == [
        (1, 1.0, (), 10.0), (3, None, ("loss",), 30.0), (5, None, (), 50.0), (7, 3.0, (), 70.0),
    ]  # fmt: skip


def test_computing_does_not_hold_up_the_watcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()

    def slow(self: ForeignAdvice, view: RunView) -> Iterator[None]:
        release.wait(PATIENCE)
        yield

    monkeypatch.setattr(ForeignAdvice, "update", slow)
    file = tmp_path / "other.jsonl"
    write(file, 1, 301)
    with watching(tmp_path) as (_, sink):
        sink.wait(is_focused("other.jsonl", 300))
        write(file, 301, 311)
        assert focused(sink.wait(is_focused("other.jsonl", 310))).advice is None
        release.set()
        sink.wait(is_advised)


def test_another_run_is_judged_as_soon_as_it_is_chosen() -> None:
    first = view_of(table_of(20_000))
    second = replace(view_of(table_of(300)), summary=replace(first.summary, path=Path("/runs/b")))
    with at_work() as advice:
        advice.request(first)
        advice.request(second)
        becomes(lambda: advice.complete(second).advice_computed)
        assert advice.complete(first) is first


def test_a_run_that_cannot_be_judged_is_reported_and_is_still_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: ForeignAdvice, view: RunView) -> None:
        raise RuntimeError("broken rule")

    monkeypatch.setattr(ForeignAdvice, "update", broken)
    write(tmp_path / "other.jsonl", 1, 301)

    def says_so(view: FolderView) -> bool:
        return any("no advice on this run" in one for one in focused(view).warnings)

    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(lambda view: view.focused is not None and says_so(view))
    assert len(focused(sink.views[-1]).train) == 300
    assert focused(sink.views[-1]).advice is None


def test_advice_already_shown_is_kept_when_a_later_computation_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background_advice, "REST_SECONDS", 0.01)
    observe = Advisor.observe

    def broken_from_row_400(self: Advisor, row: RecordValues) -> list[Advice]:
        if row.step is not None and row.step >= 400:
            raise RuntimeError("broken rule")
        return observe(self, row)

    monkeypatch.setattr(Advisor, "observe", broken_from_row_400)
    first = view_of(table_of(300, risen_from=201))
    grown = replace(first, train=table_of(450, risen_from=201))
    with at_work() as advice:
        advice.request(first)
        becomes(lambda: advice.complete(first).advice_computed)
        shown = advice.complete(first)
        assert shown.advice and not shown.warnings

        def fails() -> bool:
            advice.request(grown)
            return bool(advice.complete(grown).warnings)

        becomes(fails)
        after = advice.complete(grown)
        assert (after.advice, after.advice_computed) == (shown.advice, True)
        (warning,) = after.warnings
        assert "not up to date" in warning and "broken rule" in warning

        # The next computation starts from the first row, and ends the warning.
        monkeypatch.setattr(Advisor, "observe", observe)
        longer = replace(first, train=table_of(460, risen_from=201))

        def succeeds() -> bool:
            advice.request(longer)
            return not advice.complete(longer).warnings

        becomes(succeeds)
        assert advice.complete(longer).advice


def test_a_view_stays_the_same_object_until_something_changes(tmp_path: Path) -> None:
    write(tmp_path / "other.jsonl", 1, 301, risen_from=201)
    with watching(tmp_path, poll=NEVER) as (_, sink):
        sink.wait(is_focused("other.jsonl", 300))
        plain = whole(sink, 300)
    with at_work() as advice:
        assert advice.complete(plain) is plain
        advice.request(plain)
        becomes(lambda: advice.complete(plain).advice_computed)
        completed = advice.complete(plain)
        advice.request(plain)
        assert completed is advice.complete(plain)
    assert completed.advice is not None and completed.advice[-1].kind == "divergence"
