"""What a run's events say of its advice, and judging runs that grow in tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.advisor.stories import descent, run
from tui_trainer.advisor.event_history import read_events
from tui_trainer.advisor.job_facts import usual_rate
from tui_trainer.advisor.replay import replay
from tui_trainer.cli import main
from tui_trainer.contracts.advice import Advice, AdvisorSettings, Evidence
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.schedule import Scaling
from tui_trainer.store import jobs, paths, settings
from tui_trainer.watch.runs.foreign_advice import ForeignAdvice
from tui_trainer.watch.snapshots import MetricTable, RunSummary, RunView

Capture = pytest.CaptureFixture[str]


def advice(id: str, step: int, status: str = "raised") -> Event:
    advice = Advice(
        id=id, kind="plateau", urgency="medium", status=msgspec.convert(status, Any), step=step,
        updated_step=step, learning_rate=None, suggested_lr=None, factor=None, reason="",
        evidence=Evidence(metric="loss", first_step=1, last_step=step), confidence=0.5,
    )  # fmt: skip
    return Event(time=0, step=step, kind="advice", id=id, detail=msgspec.to_builtins(advice))


def event(kind: str, step: int, /, **detail: Any) -> Event:
    return Event(time=0, step=step, kind=kind, detail=detail)


def test_steps_that_a_resumed_run_trained_again_are_reported_once() -> None:
    events = [
        advice("one", 20),
        advice("two", 35),
        advice("one", 38, "closed"),
        event("resumed", 30, rewound=False),
        advice("two", 36),
    ]
    history = read_events(events)
    assert [(a.id, a.updated_step) for a in history.reports] == [("one", 20), ("two", 36)]
    assert [a.id for a in history.open] == ["one", "two"]
    assert [a.id for a in read_events([*events, advice("one", 40, "closed")]).open] == ["two"]


def test_mutes_and_applied_rates_are_read_and_undone_ones_are_not() -> None:
    mute = event("command", 10, command="mute", accepted=True, kind="plateau")
    refused = event("command", 11, command="mute", accepted=False, kind="memory")
    events = [
        mute,
        refused,
        event("learning_rate", 12, advice="one"),
        event("learning_rate", 14, advice="two"),
        event("learning_rate", 60, advice="two", undone=True),
        Event(time=0, step=61, kind="advice", detail={"of": "another version"}),
    ]
    history = read_events(events)
    assert history.mutes == ((10, "plateau"),)
    assert history.applied == {"one"}
    assert history.reports == ()
    assert read_events([*events, event("resumed", 5, rewound=True)]).mutes == ()


def view_of(rows: list[dict[str, Any]]) -> RunView:
    columns = {
        name: np.array([row[name] for row in rows], dtype=np.float64)
        for name in ("step", "loss", "learning_rate", "gradient_norm", "time")
    }
    summary = RunSummary(path=Path("/runs/one"), id="one", name="one", kind="jsonl", status="")
    return RunView(summary, train=MetricTable(columns))


def judge(judging: ForeignAdvice, view: RunView) -> None:
    for _ in judging.update(view):
        pass


def test_a_run_that_grows_is_judged_as_one_that_was_read_whole() -> None:
    rows = run(400, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    bare = [{key: row[key] for key in row if key != "step_time_ms"} for row in rows]
    whole = replay(bare).reports
    assert whole
    growing = ForeignAdvice()
    for length in (1, 150, 210, 211, 400):
        judge(growing, view_of(rows[:length]))
    assert growing.reports == whole
    assert growing.rows == 400
    judge(growing, replace(view_of(rows[:390]), resumed_at=(380.0,)))
    assert growing.rows == 390, "judged anew where rows were taken back"


def test_scaling_goes_evenly_and_stays() -> None:
    scaling = Scaling(step=10, steps=4, before=1.0, after=1 / 16)
    assert [scaling.at(step) for step in range(9, 16)] == pytest.approx(
        [1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16, 1 / 16]
    )


def test_settings_of_job_and_configuration(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")
    values: dict[str, Any] = {"data": {"train": str(data)}}
    assert jobs.check_job(values, tmp_path, "job").advisor is None
    file = paths.config_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text('[advisor]\nmuted = ["plateau"]\nmax_learning_rate = 1e-3\n')
    assert settings.load_settings().advisor.muted == ["plateau"]
    values["advisor"] = {"auto_apply": True, "min_learning_rate": 1e-5}
    found = jobs.check_job(values, tmp_path, "job").advisor
    assert found == AdvisorSettings(
        muted=["plateau"], max_learning_rate=1e-3, auto_apply=True, min_learning_rate=1e-5
    )
    assert [found.bounded(rate) for rate in (1e-6, 1e-4, 1.0)] == [1e-5, 1e-4, 1e-3]
    assert AdvisorSettings().bounded(math.pi) == math.pi


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"auto_aply": True}, "unknown key advisor.auto_aply; did you mean advisor.auto_apply?"),
        (
            {"muted": ["boredom"]},
            'muted[0]: "boredom" is not one of oscillation, plateau',
        ),
        ({"max_changes": -1}, "max_changes: a whole number of at least 0 is needed, not -1"),
        (
            {"min_learning_rate": 1.0, "max_learning_rate": 0.1},
            "min_learning_rate is above max_learning_rate",
        ),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, wanted: dict[str, Any], expected: str) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")
    with pytest.raises(UserError) as caught:
        jobs.check_job({"data": {"train": str(data)}, "advisor": wanted}, tmp_path, "job.toml")
    assert expected in str(caught.value)
    assert "advisor" in str(caught.value)


def test_a_table_of_another_tool_is_advised_too(tmp_path: Path, capsys: Capture) -> None:
    rows = run(300, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    file = tmp_path / "metrics.csv"
    text = "".join(f"{row['step']},{row['loss']!r},\n" for row in rows)
    file.write_text("step,train_loss,val_loss\n" + text)
    assert main.main(["runs", "advise", str(file)]) == 0
    printed = capsys.readouterr()
    assert "divergence" in printed.out
    assert "not recorded: learning rate, gradient norm and validation loss" in printed.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["mute"], "mute needs a kind of advice; none was given; choose one of oscillation, "),
        (["mute", "platau"], "there is no 'platau'; did you mean plateau?"),
    ],
)
def test_muting_names_the_kinds(arguments: list[str], expected: str, capsys: Capture) -> None:
    assert main.main(["control", "somewhere", *arguments]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("training.max_steps=9", "only training.learning_rate=X can be set"),
        ("training.learning_rate=fast", "a number above 0 is needed"),
        ("training.learning_rate=-1", "a number above 0 is needed"),
    ],
)
def test_resume_sets_the_rate_and_nothing_else(
    assignment: str, expected: str, capsys: Capture
) -> None:
    assert main.main(["resume", "somewhere", "--set", assignment]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("events.out.tfevents.1790000000.host", "Loss of step 120 is not finite"),
        ("run-demo.wandb", "Loss of step 5 is not finite"),
    ],
)
def test_runs_of_other_tools_are_advised_on(file: str, expected: str, capsys: Capture) -> None:
    data = Path(__file__).parents[1] / "watch/formats/data"
    assert main.main(["runs", "advise", str(data / file)]) == 0
    printed = capsys.readouterr()
    assert expected in printed.out
    assert "gradient norm" in printed.err


def test_a_usual_rate_falls_with_the_width_of_the_base() -> None:
    assert usual_rate(4096) == pytest.approx(2e-4)
    assert usual_rate(576) == pytest.approx(9.2e-4)
    assert usual_rate(192) == usual_rate(64) == 2e-3, "not above what adapters bear"
    assert usual_rate(None) is usual_rate(0) is None


def test_a_rollback_drops_later_reports_but_keeps_what_was_muted() -> None:
    def event(name: str, step: int, **detail: Any) -> Event:
        return Event(time=0, step=step, kind=name, detail=detail)

    history = read_events(
        [
            event("setup", 0, usual_rate=1e-3),
            event("command", 30, command="mute", accepted=True, kind="plateau"),
            event("command", 50, command="mute", accepted=True, kind="loss_spike"),
            event("learning_rate", 52, advice="oscillation-1"),
            event("rollback", 40, from_step=60),
        ]
    )
    assert history.mutes == ((30, "plateau"), (40, "loss_spike"))
    assert history.applied == frozenset()
    assert history.usual_rate == 1e-3
