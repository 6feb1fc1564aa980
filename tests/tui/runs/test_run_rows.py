"""The list of runs: columns, cells, order."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui_trainer.tui.runs import run_rows
from tui_trainer.tui.runs.run_rows import Sorting
from tui_trainer.watch.snapshots import RunSummary

RUN = RunSummary(
    path=Path("/runs/a"), id="a", name="alpha", kind="run", status="training", step=1420,
    total_steps=3000, loss=1.284, best_val_loss=1.25, tokens_per_second=18_402.0,
    eta_seconds=811.0, updated_at=100.0, trend=-0.031, spark=(3.0, 2.0, 1.0),
)  # fmt: skip


def cells(run: RunSummary, width: int = 200, foreign: bool = False) -> dict[str, str]:
    layout = run_rows.layout_for(width, foreign)
    texts = run_rows.cells_of(run, layout, now=103.0)
    return {span[0].id: cell[0] for span, cell in zip(layout.spans(), texts, strict=True)}


def test_a_run_as_text() -> None:
    shown = cells(RUN)
    assert shown["name"] == "alpha" and shown["status"] == "training"
    assert shown["step"] == "1,420 / 3,000" and shown["loss"] == "1.284"
    assert shown["trend"] == "↓3.1 %" and shown["left"] == "13:31" and shown["age"] == "3 s"
    assert shown["speed"] == "18,402" and shown["val"] == "1.250" and shown["best"] == "–"
    assert shown["spark"].startswith("█") and shown["spark"].endswith("▁")


def test_a_step_of_unknown_total_stands_alone() -> None:
    assert cells(replace(RUN, step=1420, total_steps=None))["step"] == "1,420"
    assert cells(replace(RUN, step=10**10, total_steps=None))["step"] == "1e10"


def test_unknown_is_a_dash_and_ended_runs_have_no_eta() -> None:
    bare = RunSummary(Path("/b"), "b", "b\x1b[31m", "csv", "whatever", tool="Keras CSV")
    shown = cells(bare, foreign=True)
    assert shown["tool"] == "Keras CSV" and "\x1b" not in shown["name"]
    assert {shown[id] for id in ("step", "loss", "trend", "left", "age", "rate")} == {"–"}
    assert cells(replace(RUN, status="completed"))["left"] == "–"
    assert cells(replace(RUN, status="early_stopped"))["status"] == "early stop"


@given(
    st.integers(57, 300), st.booleans(),
    st.floats() | st.none(), st.floats() | st.none(), st.integers(0, 10**15), st.text(max_size=50),
)  # fmt: skip
def test_cells_keep_to_their_columns(
    width: int, foreign: bool, loss: float | None, trend: float | None, step: int, name: str
) -> None:
    layout = run_rows.layout_for(width, foreign)
    run = replace(RUN, loss=loss, trend=trend, step=step, total_steps=step * 3, name=name)
    for (_, begin, room), (text, _) in zip(
        layout.spans(), run_rows.cells_of(run, layout, 1e9), strict=True
    ):
        assert cell_len(text) <= room
        assert begin + room <= width
    assert {"status", "step", "loss"} <= {column.id for column in layout.columns}


@pytest.mark.parametrize("width", [77, 117, 217])
def test_more_room_shows_more(width: int) -> None:
    ids = {column.id for column in run_rows.layout_for(width).columns}
    assert {"trend", "left", "age"} <= ids
    assert ("spark" in ids) == (width > 100) and ("epoch" in ids) == (width > 200)
    foreign = {column.id for column in run_rows.layout_for(width, True).columns}
    assert ("tool" in foreign) == (width > 100)


def test_a_heading_is_found_by_its_cell() -> None:
    layout = run_rows.layout_for(120)
    for column, begin, width in layout.spans():
        found = layout.column_at(begin + width - 1)
        assert found is not None and found.id == column.id
    assert layout.column_at(0) is None and layout.column_at(500) is None


def test_sorting_cycles_through_the_shown_columns() -> None:
    layout = run_rows.layout_for(77)
    sorting, seen = Sorting(), [""]
    while (sorting := sorting.after(layout)).column:
        seen.append(sorting.column)
    assert seen == ["", "status", "step", "loss", "trend", "left", "age", "name"]
    assert Sorting().text() == "newest first" and Sorting().reversed().text() == "oldest first"
    assert run_rows.sorted_by("loss").text() == "by loss, lowest first"
    assert run_rows.sorted_by("step").text() == "by step, highest first"
    assert run_rows.sorted_by("name").reversed().text() == "by name, Z to A"


@pytest.mark.parametrize(
    ("trend", "texts"),
    [(-0.5, "↓50.0 %"), (0.2, "↑20.0 %"), (0.001, "→0.1 %"), (1e9, "↑>999 %"), (None, "–")],
)
def test_the_trend_has_an_arrow(trend: float | None, texts: str) -> None:
    assert run_rows.trend_text(trend)[0] == texts


@given(st.lists(st.floats(), max_size=30).map(tuple), st.integers(0, 30), st.booleans())
def test_a_curve_fills_its_cells(values: tuple[float, ...], width: int, plain: bool) -> None:
    drawn = run_rows.spark_text(values, width, plain)
    assert len(drawn) == (width if values else 0)
    assert not plain or drawn.isascii()


def test_the_cursor_keeps_its_run() -> None:
    paths = [Path(f"/runs/{n}") for n in range(5)]
    assert run_rows.cursor_index(paths, Path("/runs/3"), 0) == 3
    assert run_rows.cursor_index(paths, Path("/gone"), 9) == 4
    assert run_rows.cursor_index((), None, 2) == 0


def test_scores_have_columns_after_the_loss() -> None:
    for width in (60, 80, 120, 200):
        layout = run_rows.layout_for(width, scores=["test.accuracy", "bleu"])
        ids = [column.id for column in layout.columns]
        assert ids[ids.index("loss") + 1] == "score:test.accuracy"
        spans = layout.spans()
        assert width < 80 or spans[-1][1] + spans[-1][2] <= width
        cells = run_rows.cells_of(RUN, layout, 0.0, scores={"test.accuracy": 0.875})
        assert cells[ids.index("score:test.accuracy") + 1] == ("0.875", "")


def test_the_best_score_comes_first() -> None:
    sorting = run_rows.sorted_by("score:test.accuracy")
    assert (sorting.score, sorting.text()) == ("test.accuracy", "by test.accuracy, highest first")
    assert run_rows.sorted_by("score:test.loss").text() == "by test.loss, lowest first"
    layout = run_rows.layout_for(120, scores=["test.loss"])
    assert run_rows.sorted_by("loss").after(layout).score == "test.loss"
    assert run_rows.sorted_by("loss").score is None
