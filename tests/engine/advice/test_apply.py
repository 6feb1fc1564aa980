"""The engine's advisor: its advice during training equals a replay, and is applied."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tests.engine.conftest import At
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.event_history import read_events
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.replay import parse, replay
from tui_trainer.contracts.advice import Advice, Evidence
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.contracts.runs.run import Event
from tui_trainer.engine.records import step_records
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]

# The rate is set to 300 times the schedule's after 40 of 90 steps: the loss blows up.
STEPS, BREAK = 90, 40
TRAINING: dict[str, Any] = {
    "max_steps": STEPS,
    "batch_size": 3,
    "learning_rate": 2e-3,
    "scheduler": "constant",
    "eval_every": 15,
    "checkpoint_every": 20,
}

TOO_HIGH = ("divergence", "instability", "oscillation", "gradient_explosion", "warmup_too_short")


def replayed(folder: RunFolder) -> list[Advice]:
    info = folder.info()
    assert info is not None
    rows, rejected = parse(folder.metrics_file.read_bytes())
    assert rejected == 0
    received = read_events(folder.events())
    facts = facts_of(info.job, info.job.training.max_steps)
    return replay(rows, info.job.advisor, facts, mutes=received.mutes).reports


def of_kind(folder: RunFolder, kind: str) -> list[Event]:
    return [event for event in folder.events() if event.kind == kind]


def rates(folder: RunFolder) -> dict[int, float]:
    rows, _ = parse(folder.metrics_file.read_bytes())
    return {row["step"]: row["learning_rate"] for row in rows if row["kind"] == "train"}


@pytest.mark.slow
def test_events_are_what_a_replay_gives_through_a_stop_and_a_resume(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run(training=TRAINING)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 12, "stop")
    assert run_engine(folder) == 0
    assert run_engine(folder) == 0
    received = read_events(folder.events())
    assert received.reports, "a run that diverges is reported"
    assert {advice.kind for advice in received.reports} & set(TOO_HIGH)
    assert list(received.reports) == replayed(folder)
    first = received.reports[0]
    assert BREAK < first.step <= BREAK + 20
    event = of_kind(folder, "advice")[0]
    assert event.id == first.id
    assert msgspec.convert(event.detail, Advice) == first


@pytest.mark.slow
def test_applying_goes_smoothly_keeps_the_schedule_and_survives_a_kill(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    folder = make_run(training={**TRAINING, "scheduler": "linear"})
    at_step(5, "apply")
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 12, "apply")
    at_step(BREAK + 30, "cancel")  # nothing is saved: the last checkpoint is older
    assert run_engine(folder) == 130
    before = rates(folder)
    refused, applied = (e for e in of_kind(folder, "command") if e.detail["command"] == "apply")
    assert (refused.detail["accepted"], refused.message) == (
        False,
        "no open advice suggests a learning rate",
    )
    assert applied.detail["accepted"], applied.message
    change = of_kind(folder, "learning_rate")[-1]
    factor = change.detail["change"]["scaling"]["after"]
    assert change.detail["advice"].split("-")[0] in applied.message.replace(" ", "_")
    schedule = {step: 0.6 * (STEPS - step + 1) / (STEPS - BREAK) for step in before}
    at = applied.step
    assert before[at] == pytest.approx(schedule[at])
    steps = [before[step] / schedule[step] for step in range(at, at + 7)]
    assert all(0.25 < b / a <= 1 for a, b in itertools.pairwise(steps)), "smoothly"
    assert before[at + 6] == pytest.approx(factor * schedule[at + 6]), "the schedule's shape"
    assert run_engine(folder) == 0
    after = rates(folder)
    assert {step: after[step] for step in before} == before


@pytest.mark.slow
def test_muted_advice_is_not_repeated(make_run: MakeRun, run_engine: Engine, at_step: At) -> None:
    folder = make_run(training=TRAINING)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    for kind in TOO_HIGH:
        at_step(BREAK + 14, "mute", kind=kind)
    at_step(BREAK + 14, "mute", kind="boredom")
    assert run_engine(folder) == 0
    received = read_events(folder.events())
    muted = {kind for _, kind in received.mutes}
    assert muted == set(TOO_HIGH)
    assert any(a.status == "closed" and a.updated_step == BREAK + 14 for a in received.reports)
    assert not any(a.kind in muted and a.updated_step > BREAK + 14 for a in received.reports)
    assert list(received.reports) == replayed(folder)
    answers = [e for e in of_kind(folder, "command") if not e.detail["accepted"]]
    assert answers[0].message.startswith("unknown kind of advice 'boredom'; one of: oscillation, ")


@pytest.mark.slow
def test_urgent_advice_applies_itself_within_bounds_and_the_same_after_a_resume(
    make_run: MakeRun, run_engine: Engine, at_step: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an old enough checkpoint the rate is lowered without a rollback."""
    monkeypatch.setattr(checkpoints, "newest_up_to", lambda run, step: None)
    advisor = {"auto_apply": True, "min_learning_rate": 0.05, "max_changes": 1}
    folder = make_run(training=TRAINING, advisor=advisor)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 35, "cancel")
    assert run_engine(folder) == 130
    before = rates(folder)
    changes = [e for e in of_kind(folder, "learning_rate") if e.detail.get("by") == "auto"]
    assert len(changes) == 1
    assert min(rate for step, rate in before.items() if step > BREAK) >= 0.05 * (1 - 1e-9)
    assert before[BREAK + 35] < 0.6
    assert run_engine(folder) == 0
    after = rates(folder)
    assert {step: after[step] for step in before} == before


def test_an_advisor_that_fails_ends_no_training(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Advisor, record: object) -> list[Advice]:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(Advisor, "observe", fail)
    folder = make_run()
    assert run_engine(folder) == 0
    warnings = [e.message for e in of_kind(folder, "warning") if "advisor" in e.message]
    assert warnings == [
        "the advisor failed and is off now; training continues: ZeroDivisionError: of all things"
    ]


def test_resumed_with_another_rate_the_schedule_has_that_peak(
    make_run: MakeRun, run_engine: Engine
) -> None:
    folder = make_run(training={"scheduler": "linear", "keep_checkpoints": 9})
    assert run_engine(folder) == 0
    before = rates(folder)
    assert run_engine(folder, "--from", "step-00000006", "--learning-rate", "1e-3") == 0
    after = rates(folder)
    assert all(after[step] == before[step] for step in range(1, 7))
    assert [after[step] for step in range(7, 13)] == pytest.approx(
        [before[step] / 5 for step in range(7, 13)]
    )


@pytest.mark.slow
def test_a_change_that_made_it_worse_is_undone(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An advisor that is wrong: at step 20 it wants ten times the rate, and the loss rises."""
    wrong = Advice(
        id="plateau-1", kind="plateau", urgency="high", status="raised", step=20, updated_step=20,
        learning_rate=2e-3, suggested_lr=2e-2, factor=10.0, reason="stuck",
        evidence=Evidence(metric="loss", first_step=1, last_step=20), confidence=1.0,
    )  # fmt: skip
    seen: list[TrainRecord] = []

    def observe(self: Advisor, record: Any) -> list[Advice]:
        seen.extend([record] if isinstance(record, TrainRecord) else [])
        return [wrong] if len(seen) == 20 and isinstance(record, TrainRecord) else []

    def worse(session: Any, done: Any) -> TrainRecord:
        record = original(session, done)
        loss = 2.0 if session.state.step <= 20 else 3.0
        return msgspec.structs.replace(record, loss=loss)

    original = step_records.step_record
    monkeypatch.setattr(step_records, "step_record", worse)
    monkeypatch.setattr(Advisor, "observe", observe)
    monkeypatch.setattr(Advisor, "open", property(lambda self: [wrong] if len(seen) >= 20 else []))
    training = {**TRAINING, "max_steps": 130, "eval_every": 0}
    folder = make_run(training=training, advisor={"auto_apply": True})
    assert run_engine(folder) == 0
    changed, undone = of_kind(folder, "learning_rate")
    assert (changed.step, undone.step) == (20, 90)
    assert undone.detail["undone"] is True
    assert undone.message == (
        "loss 3 after the change for advice plateau-1, 2 before: change undone, learning rate x0.1"
    )
    taken = rates(folder)
    assert taken[20] == pytest.approx(2e-3)
    assert taken[41] == taken[90] == pytest.approx(2e-2)
    assert taken[96] == taken[130] == pytest.approx(2e-3)
    assert read_events(folder.events()).applied == frozenset()
