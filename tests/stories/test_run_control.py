"""Steering a run from the screen, and leaving it."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from tui_trainer.contracts.advice import Advice, AdviceKind, Evidence
from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.settings import Settings
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.run_control import commands

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
Engine = Callable[[RunFolder, int], None]


async def test_pause_and_resume(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("p")
        await seen(app, "paused at step 60 (", "lighthouse · paused")
        await pilot.press("p")
        await seen(app, "resumed at step 60 (", "lighthouse · training")
        assert [c.command for c in folder.commands()] == ["pause", "resume"]


async def test_checkpoint_and_learning_rate(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen, text_of: Text
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("c")
        await seen(app, "checkpoint at step 60 written (")
        await pilot.press("l")
        await seen(app, "Learning rate of lighthouse", "1.88e-4")
        await pilot.press("backspace", *"-1", "enter")
        await seen(app, "enter a number above 0")
        await pilot.press("ctrl+u", *"5e-5", "enter")
        await seen(app, "learning rate set to 5e-05 (")
        assert folder.commands()[-1].arguments == {"learning_rate": 5e-5}


async def test_an_evaluation_is_cancelled_with_e(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen
) -> None:
    message = "320 of 1,000 examples evaluated, 41/s, loss so far 1.23, 16 s left"
    folder = make_run("lighthouse", "evaluating", message=message)
    engine(folder, 60)
    app = session()
    async with app.run_test(size=(200, 60), notifications=True) as pilot:
        await seen(app, "lighthouse · evaluating", "320 of 1,000 examples", "16 s left", "ends")
        await pilot.press("e")
        await seen(app, "evaluation at step 60 cancelled (", "lighthouse · training")
        await pilot.press("e")
        await seen(app, "lighthouse is not evaluating")
        assert [c.command for c in folder.commands()] == ["skip-evaluation"]


async def test_stop_asks_first(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen, text_of: Text
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    app = session()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("s")
        await seen(app, "Save lighthouse at step 60 and stop it?", "save and stop")
        await pilot.press("escape")
        assert "save and stop" not in text_of(app) and not folder.commands()
        await pilot.press("s", "s")
        await seen(app, "stopped at step 60 and saved", "lighthouse · cancelled", "R resumes it")


async def test_an_unacknowledged_command_is_reported(
    make_run: MakeRun, session: Session, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "WAIT_SECONDS", 0.05)
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("p")
        await seen(app, "has not acknowledged pause")


async def test_run_of_another_host_is_not_steered(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    folder = make_run("far", host="elsewhere")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "far · training")
        await pilot.press("p")
        await seen(app, "far runs on elsewhere; control it from there")
        assert not folder.control_file.exists()


async def test_live_runs_are_attached_once_and_their_end_is_reported(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    live = make_run("lighthouse")
    make_run("done", "completed", age=50)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True):
        supervisor = vars(app.services.supervisor)
        await becomes(app, lambda: supervisor["attached"] == [live.path])
        time.sleep(0.3)  # more snapshots come meanwhile
        assert supervisor["attached"] == [live.path]
        supervisor["on_end"](EngineEnd(live.path, "failed", "loss is not finite", 1))
        await seen(app, "lighthouse failed: loss is not finite")
        assert supervisor["attached"] == [live.path]


async def test_quit_does_not_stop_runs_of_others(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("q")
        await pilot.pause()
        assert app.return_value == 0


async def test_quit_asks_about_a_run_of_this_session(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen, text_of: Text,
    becomes: Becomes,
) -> None:  # fmt: skip
    folder = make_run("lighthouse")
    engine(folder, 60)
    app = session(focus=folder.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("q")
        await seen(app, "lighthouse-id is still training.", "quit, keep it training")
        await pilot.press("escape")
        assert "still training" not in text_of(app)
        await pilot.press("q", "s")
        await becomes(app, lambda: app.return_value == 0)
    assert [c.command for c in folder.commands()] == ["stop"]


async def test_quit_may_leave_it_running(make_run: MakeRun, session: Session, seen: Seen) -> None:
    folder = make_run("lighthouse")
    app = session(focus=folder.path)
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("q")
        await seen(app, "still training.")
        await pilot.press("q")
        await pilot.pause()
        assert app.return_value == 0
    assert not folder.control_file.exists()


async def test_monitor_steers_but_starts_nothing(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text
) -> None:
    make_run("lighthouse", "cancelled")
    app = session(monitor_only=True)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "tui-trainer resume", "cancelled")
        assert "New run" not in text_of(app)
        await pilot.press("n")
        await seen(app, "monitor only shows and controls runs")
        await pilot.press("R")
        await pilot.pause()
        assert not vars(app.services.supervisor)["started"]


async def test_broken_settings_and_themes_are_named_once(
    make_run: MakeRun,
    session: Session,
    seen: Seen,
    home: Path,
    shown_notices: Text,
    becomes: Becomes,
) -> None:
    themes = home / "themes"
    themes.mkdir(parents=True)
    (themes / "mine.toml").write_text('name = "mine"\ndark = "perhaps"\n')
    make_run("lighthouse")
    keys = {"pausee": "space", "checkpoint": "p", "stop": "f8"}
    app = session(settings=Settings(keys=keys))
    async with app.run_test(size=(120, 50), notifications=True) as pilot:
        await becomes(app, lambda: "is already the key of pause" in shown_notices(app))
        assert (
            shown_notices(app).count("mine.toml")
            == shown_notices(app).count("did you mean pause?")
            == 1
        )
        await seen(app, "lighthouse · training", "f8 stop")
        await pilot.press("f8")
        await seen(app, "and stop it?")


async def test_help_lists_every_key_and_palette_finds_them(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 150)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("question_mark")
        await seen(app, "pause or resume the run", "every key", "zoom out", "wheel")
        await pilot.press("escape", "ctrl+p")
        await seen(app, "Search for commands")
        await pilot.press(*"theme paper")
        await seen(app, "use this colour theme")
        await pilot.press("enter")
        await becomes(app, lambda: app.theme == "paper")


async def test_details_show_job_and_paths(make_run: MakeRun, session: Session, seen: Seen) -> None:
    folder = make_run("lighthouse")
    app = session()
    async with app.run_test(size=(120, 60)) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("d")
        await seen(app, str(folder.path)[:30], folder.path.name[-9:], "accepts commands")
        await pilot.press("2")
        await seen(app, "gradient_accumulation_steps", "causal-lm")
        await pilot.press("end")
        await seen(app, "torch", "2.13")


@pytest.mark.slow
async def test_a_rate_of_more_than_ten_times_the_present_one_is_asked_about(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen, text_of: Text
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    app = session()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await seen(app, "lighthouse · training")
        await pilot.press("l", "ctrl+u", *"0.05", "enter")
        await seen(app, "0.05 is 266 times the current rate, 1.88e-4.", "set 0.05 anyway")
        await pilot.press("escape")
        await pilot.pause()
        assert "all the same" not in text_of(app) and not folder.commands()
        await pilot.press("l", "ctrl+u", *"0.05", "enter")
        await seen(app, "set 0.05 anyway")
        await pilot.press("y")
        await seen(app, "learning rate set to 0.05 (")
        assert [c.arguments for c in folder.commands()] == [{"learning_rate": 0.05}]


async def test_advice_of_such_a_rate_is_asked_about_too(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    folder = make_run("lighthouse")
    give(folder, advised("plateau", suggested=0.01))
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "lighthouse · training", "plateau")
        await pilot.press("a")
        await seen(app, "0.01 is 53.2 times the current rate", "set 0.01 anyway")
        await pilot.press("escape")
        assert not folder.commands()


@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
@pytest.mark.parametrize(
    ("key", "asked"), [("b", [("step-00000040", None)]), ("r", [(None, None)]), ("escape", [])]
)
async def test_a_rate_that_broke_the_run_is_not_set_again_unasked(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, size: tuple[int, int],
    key: str, asked: list[tuple[str | None, float | None]],
) -> None:  # fmt: skip
    folder = make_run("lighthouse", "failed", message="loss not finite at step 60")
    save_checkpoint(folder, 40)
    give(
        folder,
        Event(time=0, step=50, kind="learning_rate", detail={"learning_rate": 5.0}),
        Event(time=0, step=60, kind="warning", detail={"nonfinite": ["loss"], "in_a_row": 3}),
    )
    app = session()
    async with app.run_test(size=size, notifications=True) as pilot:
        await seen(app, "lighthouse · failed")
        await pilot.press("R")
        await seen(app, "lighthouse went wrong after its", "set to 5 at", "from step-00000040,")
        supervisor = vars(app.services.supervisor)
        assert supervisor["asked"] == []
        await pilot.press(key)
        await becomes(app, lambda: supervisor["asked"] == asked)


async def test_a_run_that_ended_otherwise_is_resumed_at_once(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    folder = make_run("lighthouse", "cancelled")
    give(folder, Event(time=0, step=50, kind="learning_rate", detail={"learning_rate": 5.0}))
    app = session()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await seen(app, "lighthouse · cancelled")
        await pilot.press("R")
        await becomes(app, lambda: vars(app.services.supervisor)["asked"] == [(None, None)])


def give(folder: RunFolder, *events: Event) -> None:
    with atomic.appending(folder.events_file) as lines:
        for event in events:
            lines.append(event)


def save_checkpoint(folder: RunFolder, step: int) -> None:
    checkpoint = folder.checkpoints_dir / checkpoints.checkpoint_name(step)
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter.bin").write_bytes(b"x")
    checkpoints.seal(checkpoint, step)


def advised(kind: AdviceKind, suggested: float) -> Event:
    """An engine's advice, open at step 60."""
    evidence = Evidence(metric="loss", first_step=40, last_step=60)
    advice = Advice(
        id=f"{kind}-1", kind=kind, urgency="medium", status="raised", step=60, updated_step=60,
        learning_rate=1.88e-4, suggested_lr=suggested, factor=suggested / 1.88e-4,
        reason="The loss stands still.", evidence=evidence, confidence=0.9,
    )  # fmt: skip
    return Event(time=time.time(), step=60, kind="advice", detail=msgspec.to_builtins(advice))
