"""Two processes give the losses of one, with one run folder and the same commands."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import tui_trainer
from tests.engine.distributed.conftest import NO_DROPOUT, Start, family
from tui_trainer.contracts.runs.run import CommandName, Event
from tui_trainer.store.runs import checkpoints, run_control, run_folder
from tui_trainer.store.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
Wait = Callable[..., None]
MakeRun = Callable[..., RunFolder]

LONG: dict[str, Any] = {"max_steps": 50_000, "eval_every": 0, "checkpoint_every": 0}
SLOW_STEPS: dict[str, Any] = {
    "max_steps": 20,
    "batch_size": 2,
    "gradient_accumulation_steps": 4,
    "eval_every": 7,
    "checkpoint_every": 5,
}


def steps(folder: RunFolder) -> int:
    return folder.metrics_file.read_bytes().count(b'"train"') if folder.metrics_file.exists() else 0


def has_steps(folder: RunFolder, count: int) -> bool:
    return steps(folder) >= count


def process_count(folder: RunFolder) -> int:
    """The number of training processes that the run logged."""
    setup = next(event for event in folder.events() if event.kind == "setup")
    return int(setup.detail["processes"])


def acknowledged(
    folder: RunFolder, command: CommandName, arguments: dict[str, Any] | None = None
) -> Event:
    answer = run_control.wait(folder, run_control.send(folder, command, arguments), 60)
    assert answer is not None, folder.log_tail()
    assert answer.detail["accepted"], answer.message
    return answer


def assert_close(one: RunFolder, two: RunFolder, metrics: Metrics) -> None:
    """The same rows; numbers to what another order of sums in fp32 may change."""
    alone, shared = metrics(one), metrics(two)
    assert alone.keys() == shared.keys()
    for key, row in alone.items():
        assert shared[key].keys() == row.keys()
        for name, value in row.items():
            if isinstance(value, float):
                value = pytest.approx(value, rel=5e-5)
            assert shared[key][name] == value, (key, name)


def test_two_processes_give_the_losses_of_one(
    make_run: MakeRun, run_engine: Callable[..., int], start: Start, metrics: Metrics
) -> None:
    # 16 examples in steps of 5: an epoch's last step has one, and a process has nothing to do.
    settings = {"batch_size": 5, "max_steps": 9}
    one, two = (
        make_run(lora=NO_DROPOUT, training={**settings, "processes": count}) for count in (1, 2)
    )
    together = start(two)
    assert run_engine(one) == 0
    assert together.wait(120) == 0, two.log_tail()
    assert_close(one, two, metrics)
    assert process_count(two) == 2
    assert metrics(two)["train", 4]["examples"] == 1


def test_a_sharded_base_gives_the_same_losses_and_resumes_exactly(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    start: Start,
    metrics: Metrics,
    wait_for: Wait,
) -> None:
    settings = {**SLOW_STEPS, "max_steps": 12}
    shared = {**settings, "processes": 2, "sharding": "fsdp"}
    one = make_run(lora=NO_DROPOUT, training=settings)
    whole, torn = (make_run(lora=NO_DROPOUT, training=shared) for _ in range(2))
    together = start(whole)
    assert run_engine(one) == 0
    assert together.wait(120) == 0, whole.log_tail()
    assert_close(one, whole, metrics)
    setup = next(event for event in whole.events() if event.kind == "setup")
    assert setup.detail["held_parameters"] < 0.75 * setup.detail["base_parameters"]

    engine = start(torn)
    wait_for(partial(has_steps, torn, 7), 120)
    for process in family(engine):
        process.kill()
    engine.wait()
    assert start(torn).wait(120) == 0, torn.log_tail()
    assert metrics(whole) == metrics(torn)


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_two_processes_train_a_classifier(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    start: Start,
    metrics: Metrics,
    sharding: str,
) -> None:
    rows = [{"text": f"the {'cat' if i % 3 else 'dog'} {i} sat", "label": i % 3} for i in range(24)]
    one, two = (
        make_run(
            rows,
            task="classification",
            lora=NO_DROPOUT,
            training={"processes": count, "sharding": sharding},
        )
        for count in (1, 2)
    )
    together = start(two)
    assert run_engine(one) == 0
    assert together.wait(120) == 0, two.log_tail()
    assert_close(one, two, metrics)
    alone, shared = one.evaluation(), two.evaluation()
    assert alone is not None
    assert shared is not None
    assert shared.newest.confusion == alone.newest.confusion


def test_commands_work_with_two_processes_and_one_resumes_the_run(
    make_run: MakeRun, start: Start, metrics: Metrics, wait_for: Wait
) -> None:
    folder = make_run(training={**LONG, "processes": 2})
    engine = start(folder)
    wait_for(lambda: steps(folder) >= 5, 120)
    pause = acknowledged(folder, "pause")
    assert folder.status() == "paused"
    time.sleep(1.0)  # whatever was on its way has arrived
    assert steps(folder) == pause.step
    assert " saved" in acknowledged(folder, "checkpoint").message
    acknowledged(folder, "set-lr", {"learning_rate": 1e-3})
    acknowledged(folder, "resume")
    wait_for(lambda: steps(folder) >= pause.step + 5, 60)
    stop = acknowledged(folder, "stop")
    assert engine.wait(60) == 0, folder.log_tail()
    assert folder.status() == "cancelled"
    assert metrics(folder)["train", pause.step + 1]["learning_rate"] == pytest.approx(1e-3)
    assert (folder.adapter_dir / "adapter_model.safetensors").is_file()

    alone = start(folder, module=("-m", "torch.distributed.run", "--nproc-per-node", "1"))
    wait_for(lambda: steps(folder) >= stop.step + 2 or alone.poll() is not None, 120)
    acknowledged(folder, "cancel")
    assert alone.wait(60) != 0
    warned = [event.message for event in folder.events() if event.kind == "warning"]
    assert any("saved by 2 training processes and is resumed" in message for message in warned)


def test_a_run_resumed_after_all_processes_were_killed_is_the_same(
    make_run: MakeRun, start: Start, metrics: Metrics, wait_for: Wait
) -> None:
    settings = {**SLOW_STEPS, "processes": 2}
    whole, torn = make_run(training=settings), make_run(training=settings)
    assert start(whole).wait(120) == 0, whole.log_tail()
    for kill_after in (2, 13):  # before the first checkpoint, and between two later ones
        engine = start(torn)
        wait_for(partial(has_steps, torn, max(steps(torn) + 1, kill_after)), 120)
        for process in family(engine):
            process.kill()
        engine.wait()
    assert start(torn).wait(120) == 0, torn.log_tail()
    assert metrics(whole) == metrics(torn)
    ends = [checkpoints.list_checkpoints(folder)[-1][1] for folder in (whole, torn)]
    for name in ("adapter_model.safetensors", "optimizer.safetensors", "random.safetensors"):
        assert (ends[0] / name).read_bytes() == (ends[1] / name).read_bytes()
    random = load_file(ends[0] / "random.safetensors")
    assert random.keys() == {"cpu", "cpu.1"}
    assert not random["cpu"].equal(random["cpu.1"])  # each drops out on its own


@pytest.mark.parametrize("leads", [False, True])
def test_a_killed_process_ends_the_run_with_a_reason(
    make_run: MakeRun, start: Start, wait_for: Wait, leads: bool
) -> None:
    folder = make_run(training={**LONG, "processes": 2})
    engine = start(folder)
    wait_for(lambda: steps(folder) >= 3, 120)
    state = folder.state()
    assert state is not None
    workers = [p for p in family(engine)[1:] if "tui_trainer.engine" in p.cmdline()]
    assert len(workers) == 2
    next(p for p in workers if (p.pid == state.pid) == leads).kill()
    assert engine.wait(60) == 1
    state = folder.state()
    assert state is not None
    assert state.state == "failed"
    messages = (
        "training process 0 of 2 was killed by SIGKILL (out of memory?)"
        if leads
        else "the other process of this run ended without an error message (killed, or out of "
        "memory?)"
    )
    assert state.message.startswith(messages)
    assert not any(process.is_running() for process in workers)


def test_bad_input_is_reported_with_exit_status_2(make_run: MakeRun, start: Start) -> None:
    folder = make_run([{"nothing": "known"}], training={"processes": 2})
    assert start(folder).wait(120) == 2
    state = folder.state()
    assert state is not None
    assert state.state == "failed"
    assert "nothing" in state.message


def test_only_the_first_of_two_machines_writes_the_run_folder(
    make_run: MakeRun, start: Start, tmp_path: Path
) -> None:
    folder, elsewhere = make_run(training={"max_steps": 4}), RunFolder(tmp_path / "elsewhere")
    elsewhere.path.mkdir()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    machines = "-m torch.distributed.run --nnodes 2 --nproc-per-node 1 --master-addr 127.0.0.1"
    launcher = [*machines.split(), "--master-port", port, "--node-rank"]
    engines = [
        start(target, module=(*launcher, str(rank)))
        for rank, target in enumerate((folder, elsewhere))
    ]
    assert [engine.wait(120) for engine in engines] == [0, 0], folder.log_tail()
    assert folder.status() == "completed"
    assert [file.name for file in elsewhere.path.iterdir()] == ["engine.log"]
    assert process_count(folder) == 2


def test_accelerate_launches_a_job_file_and_writes_one_run(
    make_run: MakeRun, tmp_path: Path
) -> None:
    job = make_run().info()
    assert job is not None
    file = tmp_path / "job.toml"
    file.write_text(
        f"""model = {job.job.model!r}
[data]
train = {str(tmp_path / "train.jsonl")!r}
val_split = 0.2
max_length = 64
[training]
max_steps = 2
batch_size = 2
"""
    )
    options = "--multi_gpu --num_processes 2 --num_machines 1 --mixed_precision no"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "accelerate.commands.launch", *options.split()),
            *("--dynamo_backend", "no", "-m", "tui_trainer.engine", str(file)),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(tui_trainer.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = [f for f in run_folder.list_runs(tmp_path / "runs") if f.status() == "completed"]
    assert len(found) == 1
    assert f"run folder: {found[0].path}" in done.stdout
    assert process_count(found[0]) == 2
