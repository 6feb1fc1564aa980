"""Automatic rollbacks: the files afterwards, and the same result after a kill."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file

from tests.engine.conftest import At, rollbacks, rows_that_stand
from tui_trainer.advisor.event_history import read_events
from tui_trainer.cli import main as cli
from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.metrics import TrainRecord
from tui_trainer.engine import loop
from tui_trainer.engine.checkpoints import rollback
from tui_trainer.engine.records import step_records
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
Capture = pytest.CaptureFixture[str]

BREAK = 40
TRAINING: dict[str, Any] = {
    "max_steps": 80,
    "batch_size": 3,
    "learning_rate": 2e-3,
    "scheduler": "linear",
    "eval_every": 15,
    "checkpoint_every": 20,
    "keep_checkpoints": 9,
}
AUTO = {"auto_apply": True}


def weights(folder: RunFolder) -> dict[str, Any]:
    return load_file(folder.adapter_dir / "adapter_model.safetensors")


@pytest.mark.slow
def test_a_diverging_run_is_rolled_back_and_ends_well(
    make_run: MakeRun, run_engine: Engine, at_step: At, capsys: Capture
) -> None:
    good = make_run(training=TRAINING)
    assert run_engine(good) == 0
    folder = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert BREAK < event.detail["from_step"] <= BREAK + 12
    assert event.step <= BREAK
    assert event.detail["advice"]["urgency"] in ("high", "critical")
    # The raise was left behind with the steps, so this is the run that it would have been.
    assert event.detail["factor"] == 1.0
    assert rows_that_stand(folder) == rows_that_stand(good)
    ours, theirs = weights(folder), weights(good)
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)
    capsys.readouterr()
    assert cli.main(["runs", "show", str(folder.path)]) == 0
    shown = capsys.readouterr().out
    assert f"step {BREAK}  learning rate set to 0.6" in shown
    assert f"step {event.step}  {event.message}" in shown
    aside = folder.checkpoints_dir / "superseded"
    assert (aside / f"step-{event.step:08d}").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize("kill", [BREAK + 3, BREAK + 20])
def test_a_run_killed_near_a_rollback_gives_the_same_result(
    make_run: MakeRun, run_engine: Engine, at_step: At, kill: int
) -> None:
    """Killed before the rollback, and in the steps after it."""
    whole = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    assert run_engine(whole) == 0
    folder = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(kill, "cancel")  # nothing is saved
    assert run_engine(folder) == 130
    assert len(rollbacks(folder)) == (kill > BREAK + 12)
    assert run_engine(folder) == 0
    assert len(rollbacks(folder)) == 1
    assert rows_that_stand(folder) == rows_that_stand(whole)
    ours, theirs = weights(folder), weights(whole)
    assert all(bool((ours[name] == theirs[name]).all()) for name in theirs)


@pytest.mark.slow
@pytest.mark.parametrize("function", ["_save", "_scale"])
def test_a_run_killed_during_a_rollback_repeats_it(
    make_run: MakeRun,
    run_engine: Engine,
    at_step: At,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
) -> None:
    """Between two parts of the rollback: the files then lead to the same result."""
    whole = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    assert run_engine(whole) == 0

    def killed(*_: Any) -> None:
        raise UserError("killed", 1)

    folder = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    with monkeypatch.context() as patch:
        patch.setattr(rollback, function, killed)
        assert run_engine(folder) == 1
    assert not rollbacks(folder)
    assert run_engine(folder) == 0
    assert rows_that_stand(folder) == rows_that_stand(whole)


@pytest.mark.slow
def test_the_advice_after_a_rollback_equals_a_replay(
    make_run: MakeRun, run_engine: Engine, at_step: At, capsys: Capture
) -> None:
    """The rate is raised twice; muted advice stays muted after the rollback."""
    folder = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 2, "mute", kind="gradient_explosion")
    at_step(BREAK + 15, "set-lr", learning_rate=0.6)
    at_step(BREAK + 30, "stop")
    assert run_engine(folder) == 0
    assert run_engine(folder) == 0
    assert len(rollbacks(folder)) == 2
    assert live_advice(folder) == replayed_advice(folder, capsys)
    assert "gradient_explosion" not in {advice.kind for advice in live_advice(folder)}


def live_advice(folder: RunFolder) -> list[Advice]:
    return list(read_events(folder.events()).reports)


def replayed_advice(folder: RunFolder, capsys: Capture) -> list[Advice]:
    """The advice that `runs advise` gives for the run."""
    capsys.readouterr()
    assert cli.main(["runs", "advise", str(folder.metrics_file), "--history", "--json"]) == 0
    out, printed = capsys.readouterr()
    ways = [line for line in printed.splitlines() if line.startswith("rollback: ")]
    assert len(ways) == len(rollbacks(folder))
    return msgspec.json.decode(out, type=list[Advice])


@pytest.mark.slow
def test_a_run_that_learns_nothing_restarts_with_a_usual_rate(
    make_run: MakeRun, run_engine: Engine, at_step: At, capsys: Capture
) -> None:
    slow = {**TRAINING, "learning_rate": 1e-8, "max_steps": 120}
    folder = make_run(training=slow, advisor={**AUTO, "max_learning_rate": 1e-3})
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert event.step == 0
    assert event.detail["advice"]["kind"] == "plateau"
    rates = [rate for _, rate in rows_that_stand(folder).values()]
    assert max(rates) == pytest.approx(1e-3), "bounded"
    assert rates[0] == pytest.approx(1e-3 / 2), "the schedule's own warmup"
    again = make_run(training=slow, advisor={**AUTO, "max_learning_rate": 1e-3})
    at_step(60, "cancel")
    assert run_engine(again) == 130
    assert run_engine(again) == 0
    assert rows_that_stand(again) == rows_that_stand(folder)
    assert live_advice(again) == replayed_advice(again, capsys)


@pytest.mark.slow
def test_a_lower_rate_that_does_not_help_is_undone(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one step on the loss is twice as high at any rate, as with wrong data."""

    def worse(session: Any, done: Any) -> TrainRecord:
        record = original(session, done)
        step = session.state.step
        loss = 3.0 - step / 50 if step <= 60 else 4.0
        return msgspec.structs.replace(record, loss=loss + 0.01 * (step % 3), gradient_norm=1.0)

    original = step_records.step_record
    monkeypatch.setattr(step_records, "step_record", worse)
    folder = make_run(training={**TRAINING, "scheduler": "constant"}, advisor=AUTO)
    assert run_engine(folder) == 0
    assert len(rollbacks(folder)) == 2
    undone = [e for e in folder.events() if e.detail.get("undone")]
    assert len(undone) == 1
    assert "look at the data there" in undone[0].message
    rates = [rate for _, rate in rows_that_stand(folder).values()]
    assert rates[61] < rates[40]
    assert rates[-1] > 2 * rates[61]


@pytest.mark.slow
def test_a_run_with_broken_weights_is_rolled_back_before_it_ends(
    make_run: MakeRun, run_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One step that is not finite is skipped; at the second the weights count as broken."""
    broken: list[int] = []

    def spoilt(session: Any) -> Any:
        if session.state.step == BREAK + 5 and not broken:
            broken.append(session.state.step)
            next(iter(session.parameters.values())).data.fill_(float("nan"))
        return original(session)

    original = loop.step
    monkeypatch.setattr(loop, "step", spoilt)
    folder = make_run(training=TRAINING, advisor=AUTO)
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert event.detail["advice"]["kind"] == "non_finite"
    assert (event.step, event.detail["from_step"]) == (BREAK + 5, BREAK + 7)
    broken.clear()
    left = make_run(training=TRAINING)
    assert run_engine(left) == 1


@pytest.mark.slow
def test_a_user_requests_a_rollback_during_training(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    """Without auto_apply there is no rollback without a request, and a kill changes nothing."""
    folder = make_run(training=TRAINING)
    at_step(BREAK - 1, "rollback")
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 12, "rollback")
    at_step(BREAK + 14, "cancel")
    assert run_engine(folder) == 130
    refused, asked = (e for e in folder.events() if e.detail.get("command") == "rollback")
    assert refused.detail["accepted"] is False
    assert asked.detail["accepted"] is True
    assert (
        asked.message == "rolling back to step-00000040, then training with another learning rate"
    )
    (event,) = rollbacks(folder)
    assert (event.step, event.detail["from_step"], event.detail["by"]) == (40, BREAK + 12, "user")
    assert run_engine(folder) == 0
    good = make_run(training=TRAINING)
    assert run_engine(good) == 0
    assert rows_that_stand(folder) == rows_that_stand(good)


@pytest.mark.slow
def test_without_an_old_enough_checkpoint_there_is_no_rollback(
    make_run: MakeRun, run_engine: Engine, at_step: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "newest_up_to", lambda run, step: None)
    folder = make_run(training=TRAINING, advisor=AUTO)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    assert run_engine(folder) == 0
    assert not rollbacks(folder)
    changes = [e for e in folder.events() if e.kind == "learning_rate"]
    assert any(e.detail.get("by") == "auto" for e in changes)


@pytest.mark.slow
def test_the_last_good_checkpoint_is_kept_while_the_problem_lasts(
    make_run: MakeRun, run_engine: Engine, at_step: At
) -> None:
    """For any number of later checkpoints, with and without automatic rollbacks."""
    training = {**TRAINING, "checkpoint_every": 4, "keep_checkpoints": 2, "eval_every": 0}
    folder = make_run(training=training)
    at_step(BREAK, "set-lr", learning_rate=0.6)
    at_step(BREAK + 14, "rollback")
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert BREAK - 8 <= event.step <= BREAK
    kept = [step for step, _ in checkpoints.list_checkpoints(folder)]
    assert kept == [76, 80], "and is pruned when it is over"


@pytest.mark.slow
def test_pruning_keeps_a_checkpoint_from_before_the_problem(
    make_run: MakeRun, run_engine: Engine
) -> None:
    training = {**TRAINING, "max_steps": 90, "checkpoint_every": 5, "keep_checkpoints": 2}
    folder = make_run(training={**training, "eval_every": 0}, advisor=AUTO)
    assert run_engine(folder) == 0
    steps = [step for step, _ in checkpoints.list_checkpoints(folder)]
    assert steps[-2:] == [85, 90]
    assert [step for step in steps if 90 - 64 - 32 < step <= 90 - 64] == [5]
