"""Advice on the dashboard: read, applied, dismissed; found here where no advisor ran along."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from tui_trainer.contracts.advice import Advice, Evidence
from tui_trainer.contracts.runs.run import Event
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp

MakeRun = Callable[..., RunFolder]
Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
Engine = Callable[[RunFolder, int], None]

DIVERGENCE = Advice(
    id="divergence-1",
    kind="divergence",
    urgency="critical",
    status="raised",
    step=52,
    updated_step=52,
    learning_rate=1.9e-4,
    suggested_lr=6e-5,
    factor=6e-5 / 1.9e-4,
    reason="The loss rose from 1.3 to 2.9.",
    evidence=Evidence(metric="loss", first_step=48, last_step=52, value=2.9, level=3.0),
    confidence=0.9,
    good_step=44,
)


SPIKE = Advice(
    id="loss_spike-1",
    kind="loss_spike",
    urgency="low",
    status="raised",
    step=52,
    updated_step=52,
    learning_rate=1.9e-4,
    suggested_lr=None,
    factor=None,
    reason="The loss of step 52 is 2.9.",
    evidence=Evidence(metric="loss", first_step=44, last_step=52, value=2.9, level=1.3),
    confidence=0.6,
    also_try=["nothing, if it remains a single spike"],
    good_step=51,
)


def advise(folder: RunFolder, *messages: Advice) -> None:
    with atomic.appending(folder.events_file) as events:
        for advice in messages:
            detail = msgspec.to_builtins(advice)
            event = Event(
                time=time.time(), step=advice.updated_step, kind="advice", id=advice.id,
                message=advice.reason, detail=detail,
            )  # fmt: skip
            events.append(event)


async def test_advice_is_read_applied_and_dismissed(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen, text_of: Text,
    becomes: Becomes,
) -> None:  # fmt: skip
    folder = make_run("lighthouse")
    engine(folder, 60)
    advise(folder, DIVERGENCE)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "▲ critical  divergence since 52", "lower to 6e-5 (×0.32)", "a apply")
        assert "computed here" not in text_of(app)
        await seen(app, "━━!")  # the window on the axis, and where it was raised
        assert "╌╌╌╌" in text_of(app), "the level before"
        await pilot.press("a")
        await seen(app, "advice divergence-1 is applied (")
        assert folder.commands()[-1].arguments == {"advice": "divergence-1"}
        await pilot.press("A")
        await becomes(app, lambda: folder.commands()[-1].arguments == {"kind": "divergence"})
        await becomes(app, lambda: "critical" not in text_of(app).split("events")[0])
        await pilot.press("A")
        await seen(app, "there is no open advice")


async def test_a_running_run_rolls_back_if_there_is_an_earlier_checkpoint(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    checkpoint = folder.checkpoints_dir / checkpoints.checkpoint_name(40)
    checkpoint.mkdir(parents=True)
    checkpoints.seal(checkpoint, 40)
    advise(folder, DIVERGENCE)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "▲ critical  divergence since 52", "a apply")
        await pilot.press("a")
        await seen(app, "roll back to step-00000040, lower the rate", "only lower the rate")
        await pilot.press("b")
        await seen(app, "going back, and on with")
        assert folder.commands()[-1].command == "rollback"
        assert folder.commands()[-1].arguments == {"advice": "divergence-1"}


async def test_a_spike_offers_a_rollback_and_no_rate(
    make_run: MakeRun, session: Session, engine: Engine, seen: Seen
) -> None:
    folder = make_run("lighthouse")
    engine(folder, 60)
    checkpoint = folder.checkpoints_dir / checkpoints.checkpoint_name(40)
    advise(folder, SPIKE)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "▲ low  loss spike since 52", "a roll back")
        await pilot.press("a")
        await seen(app, "there is no checkpoint before the spike at step 52")
        checkpoint.mkdir(parents=True)
        checkpoints.seal(checkpoint, 40)
        await pilot.press("a")
        await seen(app, "roll back to step-00000040, half the rate", "cancel")
        await pilot.press("b")
        await seen(app, "going back, and on with")
        assert folder.commands()[-1].command == "rollback"
        assert folder.commands()[-1].arguments == {"advice": "loss_spike-1"}
        assert len(folder.commands()) == 1


async def test_closed_advice_leaves_the_panel_and_a_small_screen_has_one_line(
    make_run: MakeRun, session: Session, seen: Seen, text_of: Text, becomes: Becomes
) -> None:
    folder = make_run("lighthouse")
    advise(folder, DIVERGENCE)
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "▲ critical  divergence since 52  lower to 6e-5 (×0.32)", "a apply")
        assert "loss 1.6" in text_of(app) and "RAM" in text_of(app)
        closed = msgspec.structs.replace(DIVERGENCE, status="closed", updated_step=60)
        advise(folder, closed)
        await becomes(app, lambda: "critical" not in text_of(app))
        await pilot.pause()


async def test_a_run_that_ended_badly_is_rolled_back(
    make_run: MakeRun, session: Session, seen: Seen
) -> None:
    folder = make_run("lighthouse", status="failed", message="loss is not finite", alive=False)
    for step in (20, 40, 60):
        checkpoint = folder.checkpoints_dir / checkpoints.checkpoint_name(step)
        checkpoint.mkdir(parents=True)
        checkpoints.seal(checkpoint, step)
    advise(folder, DIVERGENCE)
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "a goes back to step-00000040, with a peak", "N begins anew")
        await pilot.press("R")
        await seen(app, "lighthouse went wrong", "resume from the newest checkpoint anyway")
        await pilot.press("escape", "a")
        await seen(app, "Roll lighthouse back to step-00000040")
        await pilot.press("y")
        await seen(app, "rolling back to step-00000040")
        asked = app.services.supervisor.asked[-1]  # type: ignore[attr-defined]
        assert asked[0] == "step-00000040"
        assert 6e-5 <= asked[1] < 1e-4


async def test_another_tools_run_is_judged_here(
    runs_dir: Path, session: Session, seen: Seen, shown_notices: Text
) -> None:
    rows = []
    for step in range(1, 301):
        wobble = 0.02 * math.sin(step * 12.9898) + 0.01 * math.sin(step * 78.233)
        loss = 1 + 2 * math.exp(-step / 60) + wobble + 1.5 * (step > 200)
        rows.append(json.dumps({"step": step, "train_loss": loss, "lr": 1e-3}))
    (runs_dir / "other.jsonl").write_text("\n".join(rows) + "\n")
    app = session()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "computed here, not by the run", "divergence since 20")
        await pilot.press("a")
        await seen(app, "cannot be controlled")
        await pilot.press("A")
        await seen(app, "advice on divergence is muted for this run until you quit")
