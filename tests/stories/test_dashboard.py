"""Looking at a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual import events
from textual.strip import Strip
from textual.widgets import Input

from tui_trainer.contracts.settings import ChartSettings, Settings
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.charts.draw import draw_chart
from tui_trainer.tui.charts.model import ChartSpec
from tui_trainer.tui.dashboard.screen import DashboardScreen

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


async def test_small_terminal_keeps_what_matters(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)):
        await seen(app, "training", "step 60 / 240", "remaining 2:05", "tok/s 18,402", "38 %", "◆")
        await seen(
            app, "CPU", "RAM 3.0 / 16.0 GiB", "GPU not available", "checkpoint step-00000060"
        )
        lines = text_of(app).split("\n")
        assert len(lines) == 24
        assert lines[0].startswith(" 1 Dashboard") and "5 New run" in lines[0]
        assert "lighthouse · training" in lines[0]
        assert lines[1].lstrip().startswith("loss 1.6") and "best" in lines[1]
        assert "p pause" in lines[-1] and "q quit" in lines[-1] and "? help" in lines[-1]
        assert "learning rate" not in text_of(app)  # folded, one key away


async def test_large_terminal_shows_every_chart(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(200, 60)):
        await seen(app, "loss 1.6", "learning rate 1.88e-4", "gradient norm 0.8100")
        await seen(app, "tokens/s 19,7", "validation loss 1.696", "epoch", "elapsed   42 s")
        await seen(app, "hardware", "not available: no NVIDIA driver", "rank 16", "events")


async def test_keys_change_the_charts(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "learning rate", "step")
        await pilot.press("g")
        await seen(app, "gradient norm 0.8100")
        await pilot.press("m")
        await seen(app, "smoothing: off")
        await pilot.press("m")
        await seen(app, "smoothing: 0.6")
        await pilot.press("x")
        await seen(app, "epoch")
        await pilot.press("x", "x", "y", "plus", "left", "right", "minus", "0")
        await seen(app, "time")


async def test_one_key_shows_the_gradient_norm_where_one_chart_fits(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6")
        await pilot.press("g")
        await seen(app, "learning rate 1.88e-4")
        await pilot.press("g")
        await seen(app, "gradient norm 0.8100")
        assert "loss 1.6" not in text_of(app)
        assert "chart 3 of 10" in text_of(app)
        await pilot.press("left_square_bracket", "g", "g")
        await seen(app, "tokens/s 19,7")
        await pilot.press("escape")
        await seen(app, "loss 1.6")


async def test_zoomed_chart_follows_the_live_end(
    make_run: MakeRun,
    add_step: Callable[[RunFolder, int, float], None],
    session: Session,
    text_of: Text,
    seen: Seen,
) -> None:
    folder = make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6", "20", "40")
        await pilot.press("plus", "plus", "plus")
        await seen(app, "50", "58")
        for step in range(61, 81):
            add_step(folder, step, 1.111)
        await seen(app, "loss 1.111", "72", "76")
        assert " 58 " not in text_of(app)  # the axis went along


async def test_the_wheel_zooms_at_the_pointer(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6", "◆")
        pane = app.screen.query_one("#loss")
        for _ in range(3):
            pane.post_message(
                events.MouseScrollUp(pane, 24, 5, 0, -1, 0, False, False, False, 24, 6, None)
            )
        await seen(app, " 14 ", " 22 ")
        await pilot.press("0")
        await becomes(app, lambda: " 58 " not in text_of(app))


async def test_enter_maximises_and_escape_puts_back(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40)) as pilot:
        await seen(app, "h more", "learning rate")
        await pilot.press("enter")
        await pilot.pause()
        assert "h more" not in text_of(app) and "learning rate" not in text_of(app)
        assert "loss 1.6" in text_of(app)
        await pilot.press("escape")
        await seen(app, "h more", "learning rate")
        await pilot.press("j", "enter")
        await pilot.pause()
        assert "learning rate" in text_of(app) and "h more" not in text_of(app)


async def test_a_crash_shows_the_cause_and_the_key_that_resumes(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    log = "loading\n[bold red]RuntimeError[/]: \x1b[2Jout of memory\n"
    folder = make_run("lighthouse", alive=False, log=log)
    app = session()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await seen(app, "crashed", "ended unexpectedly after step 60; d shows its")
        await seen(app, "R resumes it from its last checkpoint", "R resume  N again  d details")
        await pilot.press("p")
        await seen(app, "lighthouse crashed; to resume it: press R")
        await pilot.press("R")
        await pilot.pause()
        assert vars(app.services.supervisor)["started"] == [folder.path]


async def test_a_finished_run_shows_the_path_of_its_adapter(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    make_run("lighthouse", "completed", message="finished 60 steps")
    app = session()
    async with app.run_test(size=(200, 50)):
        await seen(app, "completed", "finished 60 steps", "lighthouse-id/adapter")


async def test_new_rows_redraw_the_chart_and_nothing_else_does(
    make_run: MakeRun,
    add_step: Callable[[RunFolder, int, float], None],
    session: Session,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []

    def counting(spec: ChartSpec, *rest: Any) -> list[Strip]:
        drawn.append(spec.title)
        return draw_chart(spec, *rest)

    monkeypatch.setattr("tui_trainer.tui.run_charts.chart_pane.draw_chart", counting)
    folder = make_run("lighthouse", "completed")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6")
        await pilot.pause()
        drawn.clear()
        page = app.screen
        assert isinstance(page, DashboardScreen)
        for _ in range(3):
            page.show_snapshot(app.view)
        assert drawn == []
        add_step(folder, 61, 1.234)
        await seen(app, "loss 1.234")
        assert drawn == ["loss 1.234"]


async def test_survives_every_size(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss 1.6")
        for width, height in ((300, 80), (120, 24), (80, 60), (100, 28), (60, 16)):
            await pilot.resize_terminal(width, height)
            await seen(app, "training", "loss 1.6", "q quit")
        await pilot.resize_terminal(40, 10)
        await seen(app, "The terminal is 40×10")
        await pilot.resize_terminal(80, 24)
        await seen(app, "loss 1.6")


async def test_plain_characters_where_the_locale_has_no_others(
    make_run: MakeRun,
    session: Session,
    text_of: Text,
    seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("locale.getencoding", lambda: "ANSI_X3.4-1968")
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40)):
        await seen(app, "loss 1.6", "h more")
        assert text_of(app).isascii()


async def test_chart_marks_from_the_settings(
    make_run: MakeRun, session: Session, text_of: Text, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session(settings=Settings(charts=ChartSettings(marks="ascii", smoothing=0.6)))
    async with app.run_test(size=(120, 40)):
        await seen(app, "loss 1.6")
        braille = {c for c in text_of(app) if "\u2800" <= c <= "\u28ff"}
        assert not braille


async def test_monitor_of_a_folder_that_is_not_there(
    tmp_path: Path, session: Session, seen: Seen, make_run: MakeRun, runs_dir: Path
) -> None:
    app = session(tmp_path / "nowhere", monitor_only=True)
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "nowhere", "checked continuously")
        runs_dir.rename(tmp_path / "nowhere")
        await seen(app, "no runs in", "appears here as soon as")
        await pilot.press("2")
        await seen(app, "no runs in")


@pytest.mark.parametrize("parts", [1, 3, 12])
async def test_a_missing_folder_is_named_whole_however_long_its_path(
    tmp_path: Path, session: Session, seen: Seen, parts: int
) -> None:
    folders = [f"experiments-of-{number}" for number in range(parts)]
    app = session(tmp_path.joinpath(*folders, "nowhere"), monitor_only=True)
    async with app.run_test(size=(80, 24)):
        await seen(app, *folders, "nowhere", "checked continuously", "tui-trainer monitor DIR")


async def test_the_first_start_shows_what_to_do(
    tmp_path: Path, session: Session, seen: Seen
) -> None:
    app = session(tmp_path / "new_runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in", "yet.", "t  train the built-in model on a small example")
        await seen(app, "n  train a model on my data", "3  talk to a model, and teach it")
        await seen(app, "W  watch another folder", "t example  W watch a folder  n new run")
        await pilot.press("n")
        await seen(app, "ready to start", "learning rate")


async def test_the_example_starts_by_a_key_where_there_is_no_run(
    tmp_path: Path, session: Session, seen: Seen, becomes: Becomes, shown_notices: Text
) -> None:
    app = session(tmp_path / "new_runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("t")
        await becomes(app, lambda: bool(vars(app.services.supervisor)["started"]))
        made = RunFolder(vars(app.services.supervisor)["started"][0])
        info = made.info()
        assert info is not None and info.name == "lighthouse"
        await seen(app, "lighthouse")
        await pilot.press("t")
        await becomes(app, lambda: "this folder has runs already" in shown_notices(app))


async def test_another_folder_is_watched_in_a_session_of_its_own(
    tmp_path: Path, session: Session, seen: Seen
) -> None:
    app = session(tmp_path / "new_runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("W")
        await seen(app, "Folder of runs to watch")
        await pilot.press(*"nowhere")
        await seen(app, "there is no such folder")
        app.screen.query_one("#answer", Input).value = str(tmp_path)
        await pilot.press("enter")
        await pilot.pause()
    assert app.next_folder == tmp_path and app.return_code == 0


async def test_a_file_in_place_of_the_folder(tmp_path: Path, session: Session, seen: Seen) -> None:
    (tmp_path / "wrong.txt").write_text("x")
    app = session(tmp_path / "wrong.txt")
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "wrong.txt", "checked continuously")
        await pilot.press("n", "ctrl+s")
        await seen(app, "cannot create a run folder in")


async def test_log_of_another_tool(
    runs_dir: Path, session: Session, shown_notices: Text, seen: Seen, becomes: Becomes
) -> None:
    lines = "".join(f'{{"step": {i}, "train_loss": {3 / i:.4f}}}\n' for i in range(1, 40))
    (runs_dir / "theirs.jsonl").write_text(lines)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "theirs", "loss 0.0769", "this run records no learning rate")
        await pilot.press("p")
        await becomes(app, lambda: "cannot be controlled" in shown_notices(app))
