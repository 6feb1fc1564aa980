"""A run of the form is refused because too many rows would be left out: the screen asks."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from tui_trainer.contracts.runs.data_report import LeftOutRows, PartLeftOut, TooManyLeftOut
from tui_trainer.contracts.runs.run import Event, RunState
from tui_trainer.launch.exit_report import EngineStart, describe_end
from tui_trainer.store import atomic
from tui_trainer.store.runs import refused_resume, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.new_run.field_row import FieldRow

Session = Callable[..., TrainerApp]
Seen = Callable[..., Awaitable[None]]
Text = Callable[[TrainerApp], str]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
MakeRun = Callable[..., RunFolder]

ROWS = TooManyLeftOut(
    parts=[
        PartLeftOut(
            part="training",
            rows=10_000,
            left_out=1_234,
            reasons=[
                LeftOutRows(reason="no answer field beside 'prompt'", rows=1_200, where=["line 1"]),
                LeftOutRows(reason="empty", rows=34, where=["line 2"]),
            ],
        )
    ],
    allow_dropped=0.13,
)  # fmt: skip
QUESTION = ("1,234 of 10,000 training rows (12 %)", "1,200 × no answer", "34 ×", "the rest?")


def started(app: TrainerApp) -> list[RunFolder]:
    return [RunFolder(path) for path in vars(app.services.supervisor)["started"]]


def refuse(app: TrainerApp, folder: RunFolder) -> None:
    """End the run as the engine does, and report it as the supervisor does."""
    start = EngineStart.now(folder)
    message, detail = ROWS.message(), {"left_out": msgspec.to_builtins(ROWS)}
    before = start.found
    if before is None:
        event = Event(time=time.time(), step=0, kind="error", message=message, detail=detail)
        state = RunState(state="failed", message=message, updated_at=time.time())
    else:
        event, state = refused_resume.refusal_event(before, message, detail), before
    with atomic.appending(folder.events_file) as events:
        events.append(event)
    run_folder.write_state(folder, state)
    vars(app.services.supervisor)["on_end"](describe_end(folder, 2, start))


async def start_run(app: TrainerApp, pilot: Pilot[Any], seen: Seen, becomes: Becomes) -> RunFolder:
    await seen(app, "no runs in")
    await pilot.press("n")
    await seen(app, "ready to start")
    name = next(row for row in app.screen.query(FieldRow) if row.field.key == "name")
    name.query_one(Input).value = "mine"
    await pilot.press("ctrl+s")
    await becomes(app, lambda: bool(started(app)) and app.current_mode == "dashboard")
    return started(app)[0]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_y_starts_again_with_the_value_that_is_enough(
    session: Session, seen: Seen, becomes: Becomes, size: tuple[int, int], runs_dir: Path
) -> None:
    app = session()
    async with app.run_test(size=size, notifications=True) as pilot:
        folder = await start_run(app, pilot, seen, becomes)
        refuse(app, folder)
        await seen(app, *QUESTION, "yes, with data.allow_dropped = 0.13")
        await pilot.press("y")
        await becomes(app, lambda: len(started(app)) == 2)
        again = started(app)[1]
        info = again.info()
        assert info is not None
        assert (info.name, info.job.data.allow_dropped) == ("mine", 0.13)
        assert list(runs_dir.iterdir()) == [again.path]
        assert app.focus_path == again.path


@pytest.mark.slow
@pytest.mark.parametrize("key", ["n", "escape"])
async def test_n_opens_the_form_as_it_was(
    session: Session, seen: Seen, becomes: Becomes, key: str, runs_dir: Path
) -> None:
    app = session()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        refuse(app, await start_run(app, pilot, seen, becomes))
        await seen(app, *QUESTION)
        await pilot.press(key)
        await seen(app, "ready to start", "mine")
        await becomes(app, lambda: not list(runs_dir.iterdir()))
        assert len(started(app)) == 1


async def test_it_asks_only_where_no_text_is_typed(
    session: Session, seen: Seen, becomes: Becomes, text_of: Text, shown_notices: Text
) -> None:
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        folder = await start_run(app, pilot, seen, becomes)
        await pilot.press("n")
        await seen(app, "ready to start")
        refuse(app, folder)
        await becomes(app, lambda: "mine is not started yet" in shown_notices(app))
        await pilot.press("y")
        assert "Train on the rest?" not in text_of(app)
        await pilot.press("f1")
        await seen(app, *QUESTION)


async def test_a_refused_run_that_is_resumed_is_asked_about_and_stays_at_n(
    session: Session, seen: Seen, make_run: MakeRun
) -> None:
    """The reason why it had ended before may be another one."""
    folder = make_run("lighthouse", "failed", message="the base cannot be read")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · failed")
        await pilot.press("R")
        refuse(app, folder)
        await seen(app, *QUESTION)
        await pilot.press("n")
        await seen(app, "lighthouse", "Start run")
        assert folder.info() is not None


async def test_a_run_that_the_command_line_has_started_is_followed_from_its_first_state(
    session: Session, seen: Seen, becomes: Becomes, make_run: MakeRun
) -> None:
    folder = make_run("lighthouse", "idle", steps=0)
    app = session(focus=folder.path)
    async with app.run_test(size=(120, 40), notifications=True):
        attached = vars(app.services.supervisor)["attached"]
        await becomes(app, lambda: attached == [folder.path])
        refuse(app, folder)
        await seen(app, *QUESTION)


async def test_a_run_of_another_session_is_not_asked_about(
    session: Session, seen: Seen, make_run: MakeRun, text_of: Text, becomes: Becomes,
    shown_notices: Text,
) -> None:  # fmt: skip
    folder = make_run("lighthouse")
    app = session(monitor_only=True)
    async with app.run_test(size=(120, 40), notifications=True):
        await seen(app, "lighthouse · training")
        refuse(app, folder)
        await becomes(app, lambda: "1,234 of 10,000" in shown_notices(app))
        assert "Train on the rest?" not in text_of(app)
