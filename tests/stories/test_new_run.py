"""The form for a new run: its folded part, its choices, and what comes of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from textual.widgets import Input

from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.new_run.field_row import FieldRow
from tui_trainer.tui.new_run.fold import FieldFold
from tui_trainer.tui.run_charts.chart_pane import ChartPane

Session = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


def row(app: TrainerApp, key: str) -> FieldRow:
    return next(row for row in app.screen.query(FieldRow) if row.field.key == key)


def job_started(app: TrainerApp) -> Job:
    info = RunFolder(vars(app.services.supervisor)["started"][0]).info()
    assert info is not None
    return info.job


@pytest.mark.slow
async def test_power_and_optimizer_are_chosen_seen_and_started(
    session: Session, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start", "cosine, warmup 10", "▶ more", "adapter variants")
        assert "scheduler power" not in text_of(app)
        row(app, "training.scheduler").enter()
        await pilot.press("right", "right")
        await seen(app, "scheduler power", "polynomial, power 2")
        first = app.screen.query_one(ChartPane).render_line(4).text
        await pilot.press("down", "4")
        await seen(app, "polynomial, power 4")
        assert app.screen.query_one(ChartPane).render_line(4).text != first
        await pilot.press("ctrl+o")
        await seen(app, "▼ less", "max gradient norm")
        assert "momentum" not in text_of(app)
        await pilot.press("down", "space", "space")
        await seen(app, "sgd", "momentum", "1 changed")
        await pilot.press("down", "0", ".", "9", "down", "left")
        await becomes(app, lambda: row(app, "training.nesterov").text == "on")
        await pilot.press("ctrl+o")
        await seen(app, "▶ more", "3 changed")
        await pilot.press("ctrl+s")
        await becomes(app, lambda: bool(vars(app.services.supervisor)["started"]))
        training = job_started(app).training
        assert (training.scheduler, training.scheduler_power) == ("polynomial", 4.0)
        assert (training.optimizer, training.momentum, training.nesterov) == ("sgd", 0.9, True)


@pytest.mark.slow
async def test_classification_asks_how_to_balance(
    session: Session, seen: Seen, becomes: Becomes, text_of: Text, tmp_path: Path
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a", "label": "x"}\n{"text": "b", "label": "y"}\n')
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        assert "balance" not in text_of(app)
        row(app, "data.train").query_one(Input).value = str(rows)
        await pilot.press("down", "down", "right")
        await seen(app, "classification", "balance", "rare classes")
        row(app, "data.balance").enter()
        await pilot.press("right")
        await seen(app, "oversample")
        await pilot.press("ctrl+s")
        await becomes(app, lambda: bool(vars(app.services.supervisor)["started"]))
        job = job_started(app)
        assert (job.task, job.data.balance) == ("classification", "oversample")


@pytest.mark.slow
async def test_a_mistake_in_the_folded_part_opens_it(
    session: Session, seen: Seen, becomes: Becomes
) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        await pilot.press("ctrl+o")
        await seen(app, "▼ less", "patience")
        row(app, "training.early_stopping_patience").query_one(Input).value = "3"
        await seen(app, "minimum change", "1 changed")
        await pilot.press("ctrl+o")
        await seen(app, "▶ more")
        row(app, "data.validation").query_one(Input).value = ""
        await becomes(app, lambda: bool(app.screen.query_one("#more").display))
        await seen(app, "patience: needs validation data")
        await pilot.press("ctrl+o")
        await seen(app, "1 invalid", "▶ more")
        await pilot.press("ctrl+s")
        wrong = row(app, "training.early_stopping_patience")
        await becomes(app, lambda: wrong.has_focus_within)
        await seen(app, "minimum change", "patience           3", "needs validation data: set")
        assert not vars(app.services.supervisor)["started"]
        row(app, "data.val_split").query_one(Input).value = "0.1"
        await seen(app, "ready to start")
        app.screen.query_one(FieldFold).scroll_visible(animate=False)
        await seen(app, "▼ less")
        await pilot.click(FieldFold)
        await seen(app, "▶ more  1 changed  optimizer")


async def test_narrow_terminals_show_the_whole_hint_below(session: Session, seen: Seen) -> None:
    app = session()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start", "name of the run")
        await pilot.press("down", "down")
        await seen(app, "kind of training: causal-lm or classification")
        row(app, "training.learning_rate").query_one(Input).value = "0.5"
        row(app, "training.learning_rate").enter()
        await seen(app, "0.5 is very high for an adapter; 2e-4 to 3e-3 is usual")
        await seen(app, "ready to start, but check learning rate: 0.5 is very high")


async def test_a_run_is_started_again_with_one_thing_changed(
    session: Session, seen: Seen, becomes: Becomes, runs_dir: Path
) -> None:
    example = jobs.load_job(paths.examples() / "lighthouse.toml")
    lora = msgspec.structs.replace(example.lora, rank_pattern={"q_proj": 4}, rslora=True)
    first = msgspec.structs.replace(example, name="first", lora=lora)
    run_folder.create_run(runs_dir, first)
    app = session()
    async with app.run_test(size=(120, 44)) as pilot:
        await seen(app, "first · idle")
        await pilot.press("N")
        await seen(app, "name               first", "ready to start", "2 changed")
        row(app, "lora.alpha").query_one(Input).value = "8"
        await seen(app, "ready to start")
        await pilot.press("ctrl+s")
        await becomes(app, lambda: bool(vars(app.services.supervisor)["started"]))
        job = job_started(app)
        assert job == msgspec.structs.replace(first, lora=msgspec.structs.replace(lora, alpha=8.0))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (100, 30), (120, 44)])
async def test_the_field_with_the_cursor_is_seen(
    session: Session, seen: Seen, becomes: Becomes, size: tuple[int, int]
) -> None:
    app = session()
    async with app.run_test(size=size) as pilot:
        await seen(app, "no runs in")
        await pilot.press("n")
        await seen(app, "ready to start")
        await pilot.press("ctrl+o")
        await seen(app, "▼ less")
        for key in ("trust_remote_code", "training.seed", "training.precision", "name"):
            field = row(app, key)
            field.enter()
            await becomes(app, partial(on_top, app, field))
        await pilot.press("pagedown", "pagedown", "pagedown", "pagedown")
        await seen(app, "step", "trust remote code")  # the chart comes along, or stays


def on_top(app: TrainerApp, field: FieldRow) -> bool:
    """Whether nothing lies over the field, nor cuts it off."""
    if not field.has_focus_within or not app.screen.region.contains_point(field.region.offset):
        return False
    hit, _region = app.screen.get_widget_at(*field.region.offset)
    return field in hit.ancestors_with_self
