"""The list of runs and the form for a new one."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.widgets import Button, DataTable, Input

from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.text import rate_text
from tui_trainer.tui.widgets.form_row import FormRow

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


async def test_list_tells_runs_apart(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("oldest", "completed", age=300)
    make_run("gone", alive=False, age=200)
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("2")
        await seen(app, "oldest", "completed", "gone", "crashed", "60 / 240", "2:05", "5 min")


async def test_cursor_stays_on_its_run_and_enter_opens_it(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    make_run("first", "completed", age=300)
    make_run("second", "completed", age=200)
    app = session()
    async with app.run_test(size=(120, 30)) as pilot:
        await seen(app, "second · completed")
        await pilot.press("2")
        await seen(app, "first")
        await pilot.press("j")
        make_run("third", "completed")
        await seen(app, "third")
        table = app.screen.query_one(DataTable)
        await becomes(app, lambda: table.cursor_row == 2)
        await pilot.press("enter")
        await seen(app, "first · completed", "loss 1.6")


async def test_a_run_removed_from_the_disk_gives_way_to_another(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    make_run("alpha", "completed", age=300)
    gone = make_run("beta", "completed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)):
        await seen(app, "beta · completed")
        shutil.rmtree(gone.path)
        await seen(app, "alpha · completed", "loss 1.6")


async def test_filter(make_run: MakeRun, session: Session, seen: Seen, text_of: Text) -> None:
    make_run("alpha", "completed", age=300)
    make_run("beta", "failed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "beta · failed")
        await pilot.press("2", "slash", *"comp")
        await seen(app, "alpha")
        await pilot.pause()
        assert "failed  " not in text_of(app)
        await pilot.press(*"zzz")
        await seen(app, "no run has compzzz in its name or state")
        await pilot.press("escape")
        await seen(app, "alpha", "failed  ")


async def test_mouse_clicks_tabs_and_runs(make_run: MakeRun, session: Session, seen: Seen) -> None:
    make_run("alpha", "completed", age=300)
    make_run("beta", "completed", age=200)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "beta · completed")
        await pilot.click("#top-bar", offset=(17, 0))
        await seen(app, "updated")
        await pilot.click(DataTable, offset=(5, 2))
        await pilot.click(DataTable, offset=(5, 2))
        await seen(app, "alpha · completed", "loss 1.6")


async def test_form_is_filled_with_the_example_and_starts_it(
    session: Session, seen: Seen, becomes: Becomes, runs_dir: Path
) -> None:
    training = jobs.load_job(paths.examples() / "lighthouse.toml").training
    warmup = f"warmup {training.warmup_steps} of {training.max_steps} steps"
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in", "n makes one")
        await pilot.press("n")
        await seen(app, "lighthouse", "cosine", "peak rate, after warmup", "ready to start")
        await seen(app, f"learning rate {rate_text(training.learning_rate)}", warmup)
        await pilot.press("ctrl+s")
        await becomes(app, lambda: bool(vars(app.bridge.supervisor)["started"]))
        made = RunFolder(vars(app.bridge.supervisor)["started"][0])
        info = made.info()
        assert made.path.parent == runs_dir and info is not None and info.job.training == training
        await seen(app, "lighthouse · idle", "no step yet")


async def test_mistakes_stand_beside_their_field(
    session: Session, seen: Seen, becomes: Becomes
) -> None:
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("5")
        await seen(app, "ready to start")
        rows = {row.field.key: row for row in app.screen.query(FormRow)}
        rows["training.batch_size"].query_one(Input).value = "0"
        await seen(app, "needs a whole number of at least 1", "batch size: needs a whole")
        rows["training.learning_rate"].query_one(Input).value = "fast"
        await seen(app, "needs a number above 0", "(and 1 more)")
        rows["training.batch_size"].query_one(Input).value = "4"
        rows["training.learning_rate"].query_one(Input).value = "1e-3"
        rows["data.train"].query_one(Input).value = "/no/such/file.jsonl"
        await seen(app, "/no/such/file.jsonl does not exist")
        assert app.screen.query_one("#start", Button).disabled
        await pilot.press("ctrl+s")
        assert not vars(app.bridge.supervisor)["started"]
        await pilot.press("escape")
        await seen(app, "no runs in")


async def test_letters_go_into_the_fields_of_the_form(session: Session, seen: Seen) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        await seen(app, "██▇")  # the schedule, as a line where its chart has no room
        await pilot.press("end", *"-q2")
        await seen(app, "lighthouse-q2")
