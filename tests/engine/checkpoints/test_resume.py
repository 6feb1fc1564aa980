"""A run killed at any time and resumed gives the bit-exact results of one that was not."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.runs.run import Command
from tui_trainer.engine.state.command_source import rates_to_replay
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints, run_control
from tui_trainer.store.runs.run_folder import RunFolder

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
Start = Callable[..., subprocess.Popen[bytes]]
Wait = Callable[..., None]

# Long enough steps to be hit by a kill: 16 forward passes each.
SETTINGS: dict[str, Any] = {
    "training": {
        "max_steps": 24,
        "batch_size": 1,
        "gradient_accumulation_steps": 5,
        "eval_every": 7,
        "checkpoint_every": 5,
        "keep_checkpoints": 2,
    }
}


def steps_written(folder: RunFolder) -> int:
    return folder.metrics_file.read_bytes().count(b'"train"') if folder.metrics_file.exists() else 0


def has_steps(folder: RunFolder, steps: int) -> bool:
    return steps_written(folder) >= steps


def assert_same(one: RunFolder, other: RunFolder, metrics: Metrics) -> None:
    assert metrics(one) == metrics(other)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (one.adapter_dir / name).read_bytes() == (other.adapter_dir / name).read_bytes()
    assert checkpoints.best_name(one) == checkpoints.best_name(other)
    states = one.state(), other.state()
    assert states[0] is not None and states[1] is not None
    assert (states[0].best, states[0].saved_step) == (states[1].best, states[1].saved_step)
    newest = [checkpoints.list_checkpoints(f)[-1][1] for f in (one, other)]
    for name in ("optimizer.safetensors", "random.safetensors"):
        assert (newest[0] / name).read_bytes() == (newest[1] / name).read_bytes()


@pytest.mark.slow
def test_killed_twice_and_resumed_it_is_the_same_run(
    make_run: Callable[..., RunFolder], start_engine: Start, metrics: Metrics, wait_for: Wait
) -> None:
    whole = make_run(**SETTINGS)
    undisturbed = start_engine(whole)
    torn = make_run(**SETTINGS)
    for kill_after in (3, 13):  # before the first checkpoint, and between two later ones
        engine = start_engine(torn)
        enough = max(steps_written(torn) + 1, kill_after)
        wait_for(partial(has_steps, torn, enough))
        engine.kill()
        engine.wait()
        assert torn.status() == "crashed"
    assert start_engine(torn).wait() == 0
    assert undisturbed.wait() == 0
    assert_same(whole, torn, metrics)
    kinds = [event.kind for event in torn.events()]
    assert kinds.count("resumed") == 2


@pytest.mark.slow
def test_thirty_kills_at_random_instants(
    make_run: Callable[..., RunFolder], start_engine: Start, metrics: Metrics
) -> None:
    whole = make_run(**SETTINGS)
    assert start_engine(whole).wait() == 0
    chance = random.Random(20261121)
    kills = 0
    while kills < 30:
        torn = make_run(**SETTINGS)
        while True:
            engine = start_engine(torn)
            # Loading takes seconds, training about one: most instants lie around the training.
            before = steps_written(torn)
            deadline = time.monotonic() + 60
            while (
                steps_written(torn) == before
                and engine.poll() is None
                and time.monotonic() < deadline
            ):
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.6))
            if engine.poll() is not None:
                break
            engine.kill()
            engine.wait()
            kills += 1
            if torn.status() == "completed":  # killed between its last word and its exit
                break
        assert torn.status() == "completed", torn.state()
        assert_same(whole, torn, metrics)


@pytest.mark.slow
def test_a_learning_rate_set_after_the_last_checkpoint_survives_a_kill(
    make_run: Callable[..., RunFolder], start_engine: Start, metrics: Metrics, wait_for: Wait
) -> None:
    settings = {"training": {**SETTINGS["training"], "checkpoint_every": 0, "eval_every": 0}}
    torn = make_run(**settings)
    engine = start_engine(torn)
    wait_for(lambda: steps_written(torn) >= 2)
    answer = run_control.wait(torn, run_control.send(torn, "set-lr", {"learning_rate": 7e-4}), 30)
    assert answer is not None
    assert answer.detail == {"command": "set-lr", "accepted": True}
    at = answer.step
    wait_for(lambda: steps_written(torn) >= at + 2)
    engine.kill()
    engine.wait()
    before = metrics(torn)
    assert start_engine(torn).wait() == 0
    after = metrics(torn)
    assert after["train", at + 1]["learning_rate"] == pytest.approx(7e-4)
    assert all(after[key] == row for key, row in before.items())


def test_damaged_and_unfinished_checkpoints_are_skipped(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    whole = make_run()
    assert run_engine(whole) == 0
    folder = make_run()
    stop_at(folder, run_engine, step=9)
    newest = checkpoints.list_checkpoints(folder)[-1][1]
    weights = newest / "adapter_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    (folder.checkpoints_dir / ".step-00000011.tmp").mkdir()
    (folder.checkpoints_dir / "step-00000010").mkdir()  # no manifest: does not exist
    assert run_engine(folder) == 0
    assert_same(whole, folder, metrics)
    assert not (folder.checkpoints_dir / ".step-00000011.tmp").exists()


def test_from_an_older_checkpoint_the_later_ones_are_set_aside(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    folder = make_run(training={"keep_checkpoints": 9})
    assert run_engine(folder) == 0
    assert run_engine(folder, "--from", "step-00000006") == 0
    aside = folder.checkpoints_dir / "superseded"
    assert sorted(p.name for p in aside.iterdir())[-1] == "step-00000012"
    resumed = [event for event in folder.events() if event.kind == "resumed"]
    assert [(event.step, event.detail["rewound"]) for event in resumed] == [(6, True)]
    assert run_engine(folder, "--from", "step-00000099") == 2
    assert folder.status() == "completed"
    message = folder.events()[-1].message
    assert "has no checkpoint 'step-00000099'; it has: step-00000003" in message


def stop_at(folder: RunFolder, run_engine: Callable[..., int], step: int) -> None:
    """Runs until the first `step` steps are done, by a stop command that waits for that step."""
    from tui_trainer.engine import execute_commands, loop

    original = execute_commands.execute_commands

    def execute_and_stop(session: Any) -> Any:
        if session.state.step == step:
            with atomic.appending(folder.control_file) as lines:
                lines.append(Command(id=f"stop-{step}", time=time.time(), command="stop"))
        return original(session)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "execute_commands", execute_and_stop)
        assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None
    assert (state.state, state.step) == ("cancelled", step)
    assert f"stopped at step {step} and saved" in state.message


def test_a_stopped_and_resumed_run_is_the_same(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], metrics: Metrics
) -> None:
    whole = make_run()
    assert run_engine(whole) == 0
    parts = make_run()
    stop_at(parts, run_engine, step=5)
    assert (parts.adapter_dir / "adapter_model.safetensors").is_file()
    assert run_engine(parts) == 0
    assert_same(whole, parts, metrics)


def test_changed_data_is_detected_on_resume(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int]
) -> None:
    folder = make_run()
    stop_at(folder, run_engine, step=5)
    info = folder.info()
    assert info is not None
    file = Path(next(iter(info.data_files)))
    with file.open("ab") as stream:
        stream.write(b'{"question": "one more", "answer": "row"}\n')
    assert run_engine(folder) == 2
    assert folder.status() == "cancelled"
    assert "changed since the run started" in folder.events()[-1].message


def test_rates_of_undone_steps_are_not_replayed() -> None:
    from tui_trainer.contracts.runs.run import Event

    def rate(step: int, value: float) -> Event:
        detail = {"learning_rate": value}
        return Event(time=0, step=step, kind="learning_rate", detail=detail)

    events = [
        rate(10, 1.0),
        rate(30, 2.0),
        Event(time=0, step=20, kind="resumed", detail={"rewound": True}),
        rate(25, 3.0),
        Event(time=0, step=20, kind="resumed", detail={"rewound": False}),
    ]
    assert rates_to_replay(events, 20) == [(25, 3.0)]
    assert rates_to_replay(events, 0) == [(10, 1.0), (25, 3.0)]
    # Set after the run was resumed: what was set at later steps before is overruled.
    assert rates_to_replay([*events, rate(22, 4.0)], 20) == [(22, 4.0)]
