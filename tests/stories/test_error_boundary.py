"""Runs that cannot be read among good ones: they say why, and the good ones stay whole."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.watch import faults
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
STEPS = 299
# On the screen each of them has a row; what they hold is drawn.
SHOWN = (
    "quote in a name", "control character in a name", "newline in a name",
    "escape sequence in a name", "markup in a name", "empty name", "long name", "many names",
    "huge values", "huge steps", "late times", "late state", "late event", "deep event",
    "deep sample", "metrics are a pipe", "text in a database is not UTF-8",
    "file name is not UTF-8", "infinite time of an MLflow row", "best is not UTF-8",
)  # fmt: skip


async def test_one_bad_run_among_good_ones_shows_the_reason(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, runs_dir: Path,
    shown_notices: Callable[[TrainerApp], str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    make_run("lighthouse", "completed", steps=STEPS)
    faults.make_unreadable(runs_dir, monkeypatch)
    (runs_dir / "more").mkdir()
    faults.RUNS["metrics are a pipe"](runs_dir / "more")
    app = session()
    async with app.run_test(size=(120, 30)) as pilot:
        await becomes(
            app, lambda: "run bad: cannot be read: KeyError: 'unforeseen'" in shown_notices(app)
        )
        await seen(app, "lighthouse · completed")
        await becomes(app, lambda: not app.view.loading)
        assert app.view.focused is not None
        assert app.view.focused.train.last("step") == STEPS
        await pilot.press("2")
        await seen(app, "lighthouse", "KeyError: 'unforeseen'", "not a regular file")
        app.focus_run(runs_dir / "bad")
        await pilot.press("1")
        await seen(app, "bad · completed", "cannot be read: KeyError")


async def test_a_metric_with_a_quote_grows_to_its_last_step(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes
) -> None:
    folder = make_run("lighthouse", steps=38)
    app = session()
    async with app.run_test(size=(120, 30)):
        await seen(app, "lighthouse · training")
        with folder.metrics_file.open("a") as file:
            for step in range(39, STEPS + 1):
                row = {"kind": "train", "step": step, "loss": 1.0, 'acc "top1"': step / STEPS}
                file.write(json.dumps(row) + "\n")
        await becomes(
            app,
            lambda: app.view.focused is not None and app.view.focused.train.last("step") == STEPS,
        )
        assert app.view.focused is not None
        assert 'acc "top1"' in app.view.focused.train.names()


@pytest.mark.parametrize("name", SHOWN)
async def test_a_run_with_a_fault_is_shown_beside_a_good_one(
    make_run: MakeRun, session: Session, seen: Seen, becomes: Becomes, runs_dir: Path, name: str
) -> None:
    make_run("lighthouse", "completed")
    faults.RUNS[name](runs_dir)
    app = session()
    async with app.run_test(size=(120, 30)) as pilot:
        await becomes(app, lambda: len(app.view.runs) == 2 and not app.view.loading)
        (bad,) = [run for run in app.view.runs if run.name != "lighthouse"]
        app.focus_run(bad.path)
        await pilot.press("1")
        await becomes(
            app,
            lambda: (
                app.view.focused is not None
                and app.view.focused.summary.path == bad.path
                and not app.view.loading
            ),
        )
        await pilot.press("g")
        await pilot.pause()
        await pilot.press("i")
        await pilot.pause()
        await pilot.press("escape")
        await pilot.press("2")
        await seen(app, "lighthouse")
