"""Records of quick steps are written several at a time, and before any later event."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.engine.conftest import TIMES, MakeRun
from tui_trainer.contracts.runs.run import Command
from tui_trainer.engine.records import step_records
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state import command_source
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder

RunEngine = Callable[[RunFolder], int]
QUIET = {"max_steps": 20, "eval_every": 0, "checkpoint_every": 0}


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    lines = folder.metrics_file.read_bytes().splitlines()
    return [msgspec.json.decode(line) for line in lines]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The steps of each write of the metrics file."""
    original, groups = RunReporter.train_steps, []

    def train_steps(self: RunReporter, records: Any, left: int) -> None:
        groups.append([record.step for record in records])
        original(self, records, left)

    monkeypatch.setattr(RunReporter, "train_steps", train_steps)
    return groups


def test_quick_steps_are_written_together_with_the_same_content(
    make_run: MakeRun,
    run_engine: RunEngine,
    written: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_records, "_MOST_WAIT_SECONDS", 60.0)  # however slow this machine is
    together = make_run(training=QUIET)
    assert run_engine(together) == 0
    assert written == [[*range(1, 9)], [*range(9, 17)], [*range(17, 21)]]
    written.clear()
    monkeypatch.setattr(step_records, "_MOST_WAITING", 1)
    alone = make_run(training=QUIET)
    assert run_engine(alone) == 0
    assert written == [[step] for step in range(1, 21)]
    assert [{k: v for k, v in row.items() if k not in TIMES} for row in rows(together)] == [
        {k: v for k, v in row.items() if k not in TIMES} for row in rows(alone)
    ]
    assert (together.adapter_dir / "adapter_model.safetensors").read_bytes() == (
        alone.adapter_dir / "adapter_model.safetensors"
    ).read_bytes()


def test_slow_steps_are_written_at_once(
    make_run: MakeRun,
    run_engine: RunEngine,
    written: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(step_records, "_MOST_WAIT_SECONDS", 0.0)
    assert run_engine(make_run(training={**QUIET, "max_steps": 4})) == 0
    assert written == [[1], [2], [3], [4]]


def test_events_are_written_after_the_records_of_earlier_steps(
    make_run: MakeRun, run_engine: RunEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At an evaluation, checkpoint, pause, change of rate or mute, earlier steps are written."""
    monkeypatch.setattr(step_records, "_MOST_WAIT_SECONDS", 60.0)
    folder = make_run(training={**QUIET, "eval_every": 7, "checkpoint_every": 5})
    seen, event = [], RunReporter.event

    def reported(self: RunReporter, kind: str, step: int, *rest: Any, **more: Any) -> None:
        steps = [row["step"] for row in rows(folder) if "loss" in row]
        seen.append((kind, step, max(steps, default=0)))
        event(self, kind, step, *rest, **more)

    take, calls = CommandSource.new_commands, 0

    def at_its_step(self: CommandSource) -> list[Command]:
        nonlocal calls
        calls += 1
        later = {
            4: Command(id="a", time=0.0, command="set-lr", arguments={"learning_rate": 1e-3}),
            12: Command(id="b", time=0.0, command="pause"),
            13: Command(id="c", time=0.0, command="resume"),
            18: Command(id="d", time=0.0, command="mute", arguments={"kind": "plateau"}),
        }
        return take(self) + ([later[calls]] if calls in later else [])

    monkeypatch.setattr(RunReporter, "event", reported)
    monkeypatch.setattr(CommandSource, "new_commands", at_its_step)
    assert run_engine(folder) == 0
    assert {"evaluation", "command", "learning_rate", "state"} <= {kind for kind, _, _ in seen}
    late = [(kind, step) for kind, step, last in seen if last != step and kind != "checkpoint"]
    assert late == []
    saved = [(step, last) for kind, step, last in seen if kind == "checkpoint"]
    assert all(last >= step for step, last in saved)  # told when it is written, aside
    assert [row["step"] for row in rows(folder) if "loss" in row] == list(range(1, 21))


def test_a_command_waits_for_no_longer_than_a_tenth_of_a_second(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clock = [100.0]
    monkeypatch.setattr(command_source, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    folder = make_run()
    listener = CommandSource(folder)
    assert listener.is_due()
    assert listener.new_commands() == []
    clock[0] += 0.09
    assert not listener.is_due()
    command = Command(id="x", time=0.0, command="checkpoint")
    with atomic.appending(folder.control_file) as inbox:
        inbox.append(command)
    clock[0] += 0.02
    assert listener.is_due()
    assert listener.new_commands() == [command]


def test_a_signal_and_a_waiting_command_are_due_at_once(make_run: MakeRun) -> None:
    folder = make_run()
    listener = CommandSource(folder)
    listener.new_commands()
    listener._next_poll = time.monotonic() + 60
    assert not listener.is_due()
    listener._on_signal(15, None)
    assert listener.is_due()
    assert [c.command for c in listener.new_commands()] == ["stop"]
    with atomic.appending(folder.control_file) as inbox:
        inbox.append(Command(id="p", time=0.0, command="pause"))
    assert listener.end_command() is None
    assert listener.is_due()
