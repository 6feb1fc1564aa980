"""Looking closely: many charts, the cursor, runs over each other, files of what is seen."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual import events

from tui_trainer.contracts.settings import ChartSettings, Settings
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.dashboard.screen import DashboardScreen
from tui_trainer.tui.run_charts.chart_pane import ChartPane

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


def many(folder: Path, metrics: int = 22, name: str = "many", rows: int = 40) -> Path:
    """Another tool's log with the loss and so many metrics of its own."""
    path = folder / f"{name}.jsonl"
    with path.open("w") as file:
        for step in range(1, rows + 1):
            row = {"step": step, "loss": 3 / step}
            row |= {f"metric_{index}": index + math.sin(step) for index in range(1, metrics + 1)}
            file.write(json.dumps(row) + "\n")
    return path


async def test_every_metric_has_its_page(
    runs_dir: Path, session: Session, text_of: Text, seen: Seen
) -> None:
    many(runs_dir)
    app = session()
    async with app.run_test(size=(160, 50)) as pilot:
        await seen(app, "loss 0.075", "charts 2–5 of 23", "metric_1 ", "metric_4 ")
        await pilot.press("right_square_bracket")
        await seen(app, "charts 6–9 of 23", "metric_5 ", "metric_8 ", "loss 0.075")
        assert "metric_4 " not in text_of(app)
        await pilot.press("pageup", "left_square_bracket")
        await seen(app, "charts 22–23 of 23", "metric_21 ", "metric_22 ")
        await pilot.press("right_square_bracket")
        await seen(app, "charts 2–5 of 23")


async def test_all_charts_in_an_even_grid(
    runs_dir: Path, session: Session, text_of: Text, seen: Seen
) -> None:
    many(runs_dir)
    app = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "chart 2 of 23", "h more")
        await pilot.press("G")
        await seen(app, "charts 1–8 of 23", "loss 0.075", "metric_7 ")
        assert "h more" not in text_of(app)
        await pilot.press("g", "enter")  # the second chart, alone
        await seen(app, "chart 2 of 23", "metric_1 ")
        assert "loss 0.075" not in text_of(app)
        await pilot.press("g")
        await seen(app, "chart 3 of 23", "metric_2 ")
        await pilot.press("escape")
        await seen(app, "charts 1–8 of 23")
        await pilot.press("escape")
        await seen(app, "h more", "loss 0.075")


async def test_a_small_terminal_pages_as_well(
    runs_dir: Path, session: Session, seen: Seen, text_of: Text
) -> None:
    many(runs_dir)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 0.075")
        assert " of 23" not in text_of(app)
        await pilot.press("left_square_bracket")
        await seen(app, "chart 23 of 23", "metric_22 ")
        await pilot.press("right_square_bracket")
        await seen(app, "loss 0.075")


async def test_a_chart_is_found_by_typing_and_pinned(
    runs_dir: Path, session: Session, seen: Seen, text_of: Text
) -> None:
    many(runs_dir)
    app = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "chart 2 of 23", "metric_1 ")
        await pilot.press("slash")
        await seen(app, "find one of 23 charts")
        await pilot.press(*"ric_17")
        await pilot.press("enter")
        await seen(app, "chart 2 of 23", "metric_17 ")
        await pilot.press("g")
        await seen(app, "chart 3 of 23", "metric_1 ")
        await pilot.press("slash", *"ric_17", "enter")  # no longer in front
        await seen(app, "chart 18 of 23", "metric_17 ")


async def test_the_cursor_reads_exact_values(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "loss 1.6", "learning rate 1.88e-4")
        await pilot.press("v")
        await seen(app, "step 60  epoch 2  time", "at step 60", "learning rate 1.88e-4")
        await pilot.press("left")
        await seen(app, "step 59", "learning rate 1.88e-4")
        await pilot.press("home")
        await seen(app, "step 1 ", "loss 3.151", "learning rate 2e-4")
        await pilot.press("shift+right", "shift+right")
        await seen(app, "step 21 ", "validation loss 2.463 @ 20", f"loss {value(21)}")
        await pilot.press("end", "x")
        await seen(app, "step 60", "epoch")
        await pilot.press("escape")
        await becomes(app, lambda: "at step" not in text_of(app) and "best" in text_of(app))


async def test_the_view_follows_the_cursor(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6")
        await pilot.press("plus", "plus", "plus", "v", "home")
        await seen(app, "step 48 ")
        await pilot.press("left", "left", "left")
        await seen(app, "step 45 ", " 46 ", " 56 ")
        assert isinstance(app.screen, DashboardScreen)
        shown = app.screen.charts.options.viewport
        assert not shown.follows
        await pilot.press("0")
        await seen(app, " 20 ", " 40 ")


async def test_the_mouse_sets_the_cursor_and_drags_the_chart(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6")
        await pilot.click("#loss", offset=(41, 6))
        await seen(app, "at step 3")
        await pilot.press("escape", "plus", "plus")
        await pilot.mouse_down("#loss", offset=(20, 6))
        pane = app.screen.query_one("#loss", ChartPane)
        pane.post_message(events.MouseMove(pane, 60, 6, 40, 0, 1, False, False, False, 60, 7))
        page = app.screen
        assert isinstance(page, DashboardScreen)
        await becomes(app, lambda: not page.charts.options.viewport.follows)
        pane.post_message(events.MouseUp(pane, 60, 6, 0, 0, 1, False, False, False, 60, 7))
        await pilot.pause()
        assert page.charts.cursor is None  # what was dragged was no click


async def test_marked_runs_are_laid_over_the_pinned_one(
    runs_dir: Path, session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    one = many(runs_dir, 1, "one")
    two = many(runs_dir, 2, "two", rows=20)
    app = session(focus=one)
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "one · ", "loss 0.075")
        app.toggle_overlay(two)
        await seen(app, "A one 0.075", "B two 0.1500")
        plot = [line[3:76] for line in text_of(app).split("\n")[2:16]]
        assert sum(line.count("A") for line in plot) == 1 == sum(line.count("B") for line in plot)
        await pilot.press("v", "home", "right", "right")
        await seen(app, "step 3", "A one 1  ", "B two 1")
        await pilot.press("g")
        await seen(app, "metric_2")  # what only the other run records
        await pilot.press("escape", "o")
        await becomes(app, lambda: "B two" not in text_of(app))
        await pilot.press("o")
        await seen(app, "B two")
        page = app.screen
        assert isinstance(page, DashboardScreen)
        before = dict(page.charts.plots()[0].slots)
        app.focus_run(two)
        await becomes(app, lambda: [view.summary.path for view in page.charts.views] == [two])
        app.toggle_overlay(one)
        await becomes(app, lambda: len(page.charts.views) == 2)
        await seen(app, "A one 0.075", "B two 0.1500")  # colours and letters stay
        assert dict(page.charts.plots()[0].slots) == before


async def test_what_is_seen_is_exported(
    make_run: MakeRun,
    session: Session,
    seen: Seen,
    becomes: Becomes,
    shown_notices: Text,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "loss 1.6", "learning rate")
        await pilot.press("E")
        await becomes(app, lambda: "exported lighthouse-charts-step60.svg" in shown_notices(app))
        await pilot.press("enter", "E")
        await becomes(app, lambda: "exported lighthouse-loss-step60.svg" in shown_notices(app))
    assert len(list(out.iterdir())) == 6
    lines = (out / "lighthouse-charts-step60.csv").read_text().split("\n")
    assert lines[0] == "run,kind,step,epoch,time,loss,learning_rate"
    assert lines[1].startswith("lighthouse,train,1,") and len(lines) == 62


async def test_finer_smoothing_bare_lines_and_log_x(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    make_run("lighthouse")
    app = session(settings=Settings(charts=ChartSettings(smoothing=0.9)))
    async with app.run_test(size=(160, 45), notifications=True) as pilot:
        await seen(app, "loss 1.6", "raw ┄", "smoothed 0.9 ━")
        await pilot.press("greater_than_sign")
        await seen(app, "smoothing: 0.9333", "smoothed 0.93 ━")
        await pilot.press("less_than_sign", "b")
        await becomes(app, lambda: "raw ┄" not in text_of(app) and "smoothed 0.9 ━" in text_of(app))
        await pilot.press("X")
        await seen(app, "step log", " 1 ", " 10 ")
        await pilot.press("plus", "left", "shift+left", "home", "0", "X")
        await becomes(app, lambda: "step log" not in text_of(app))


async def test_each_pane_has_the_ground_of_its_focus(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    make_run("lighthouse")
    app = session()

    def grounds() -> list[bool]:
        return [
            {segment.style.bgcolor for segment in pane.render_line(2) if segment.style}
            == {pane.rich_style.bgcolor}
            for pane in app.screen.query(ChartPane)
            if pane.display
        ]

    async with app.run_test(size=(200, 60)) as pilot:
        await seen(app, "loss 1.6", "learning rate")
        for _ in range(3):
            await pilot.press("tab")
            await becomes(app, lambda: len(grounds()) > 2 and all(grounds()))


async def test_smoothing_follows_the_number_of_points(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    make_run("short", steps=40)
    make_run("long", steps=160, age=50)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "short · training", "loss 1.936", "val ◆")
        assert "smoothed" not in text_of(app)
        await pilot.press("greater_than_sign")
        await seen(app, "smoothing: 0.3333", "smoothed 0.3 ━")  # from none, as it was
        await pilot.press("m", "m", "m", "m")
        await seen(app, "smoothing: auto (off: few points)")
        assert "smoothed" not in text_of(app)
        await pilot.press("2", "j", "enter")
        await seen(app, "long · training", "smoothed 0.5 ━")
        await pilot.press("plus", "plus")
        await becomes(app, lambda: "smoothed" not in text_of(app))


def value(step: int) -> str:
    """The loss that the run folder of these stories has at a step, as it is shown."""
    return f"{1.2 + 2 * math.exp(-step / 40):.3f}"
