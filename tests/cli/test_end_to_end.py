"""The whole path with the real engine on a tiny base: processes only, no shortcuts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

PATIENCE = 120.0
# As from a shell, even where the tests themselves run in the background or under nohup.
START = """
import signal, sys
from tui_trainer.cli.main import main
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""
JOB = """
name = "tiny"
model = "{base}"
[data]
train = "rows.jsonl"
validation = "held.jsonl"
max_length = 64
[lora]
rank = 2
[training]
batch_size = 2
eval_every = 20
checkpoint_every = 20
"""


class Shell:
    """Runs the command line in a folder with a job."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[str]] = []
        rows = [{"question": f"the cat {n}", "answer": "sat on the mat"} for n in range(12)]
        held = [{"question": f"a dog {n}", "answer": "ran on the mat"} for n in range(12)]
        for name, part in (("rows.jsonl", rows), ("held.jsonl", held)):
            (folder / name).write_text("".join(json.dumps(row) + "\n" for row in part))
        (folder / "job.toml").write_text(JOB.format(base=base))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", START, *arguments],
            cwd=self.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.started.append(process)
        return process

    def call(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return process.returncode, out, err

    def records(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        status, out, err = self.call(*arguments, "--json")
        assert "Traceback" not in err
        return status, [json.loads(line) for line in out.splitlines()]

    def facts(self) -> dict[str, Any]:
        status, out, _ = self.call("runs", "show", "tiny", "--json")
        assert status == 0
        facts: dict[str, Any] = json.loads(out)
        return facts

    def run_past(self, step: int) -> RunFolder:
        """The run, once it has trained past a step."""

        def past() -> bool:
            found = run_folder.list_runs(self.folder / "runs")
            state = found[0].state() if found else None
            # A killed run's file still says training: only a process that lives counts.
            alive = bool(found) and found[0].status() == "training"
            return state is not None and alive and state.step > step

        wait_until(past)
        return run_folder.list_runs(self.folder / "runs")[0]


def wait_until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


def steps_of(records: list[dict[str, Any]]) -> list[int]:
    return [record["step"] for record in records if record["kind"] == "train"]


@pytest.fixture
def shell(tmp_path: Path, tiny_base: Path) -> Iterator[Shell]:
    shell = Shell(tmp_path, tiny_base)
    yield shell
    for process in shell.started:
        if process.poll() is None:
            process.kill()
            process.communicate()
    for folder in run_folder.list_runs(tmp_path / "runs"):
        state = folder.state()
        if state is not None and state.pid is not None and folder.status() in ACTIVE_STATES:
            os.kill(state.pid, signal.SIGKILL)


def test_a_run_from_the_first_record_to_the_adapter(shell: Shell) -> None:
    status, records = shell.records("train", "job.toml", "--set", "training.max_steps=40")
    assert status == 0, records[-1]
    assert steps_of(records) == list(range(1, 41))
    kinds = {record["kind"] for record in records}
    assert {"train", "eval", "state", "checkpoint", "end"} <= kinds
    assert (records[-1]["state"], records[-1]["exit_status"]) == ("completed", 0)
    facts = shell.facts()
    assert (facts["status"], facts["step"]) == ("completed", 40)
    assert [item["problem"] for item in facts["checkpoints"]] == [None, None]
    assert (shell.folder / facts["adapter"] / "adapter_model.safetensors").is_file()
    status, _, err = shell.call("resume", "tiny", "--headless")
    assert (status, err.count("\n")) == (1, 1)


@pytest.mark.slow
def test_steered_from_another_shell_killed_and_resumed(shell: Shell) -> None:
    train = shell.start("train", "job.toml", "--headless", "--set", "training.max_steps=100000")
    folder = shell.run_past(40)
    answers = []
    for command in (["pause"], ["set-lr", "1e-5"], ["checkpoint"], ["resume"]):
        status, out, err = shell.call("control", "tiny", *command)
        assert (status, err) == (0, "")
        answers.append(out)
        if command == ["pause"]:
            assert folder.status() == "paused"
    assert answers[0].startswith("pause: paused at step")
    state = folder.state()
    assert state is not None and state.pid is not None
    os.kill(state.pid, signal.SIGKILL)
    _, err = train.communicate(timeout=PATIENCE)
    assert train.returncode == 1
    assert "killed by SIGKILL (out of memory?)" in err
    assert shell.facts()["status"] == "crashed"
    saved = [item["step"] for item in shell.facts()["checkpoints"]]
    status, out, err = shell.call("control", "tiny", "pause")
    assert (status, err.count("\n")) == (1, 1)

    resumed = shell.start("resume", "tiny", "--json")
    shell.run_past(saved[-1] + 5)
    assert shell.call("control", "tiny", "stop")[0] == 0
    out, err = resumed.communicate(timeout=PATIENCE)
    records = [json.loads(line) for line in out.splitlines()]
    assert resumed.returncode == 0
    assert steps_of(records)[0] == saved[-1] + 1
    first = next(record for record in records if record["kind"] == "train")
    assert first["learning_rate"] == pytest.approx(1e-5, rel=0.01)
    assert records[-1]["state"] == "cancelled"


@pytest.mark.slow
def test_ctrl_c_saves_and_the_run_resumes_from_there(shell: Shell) -> None:
    train = shell.start("train", "job.toml", "--headless", "--set", "training.max_steps=100000")
    folder = shell.run_past(3)
    train.send_signal(signal.SIGINT)
    _, err = train.communicate(timeout=PATIENCE)
    assert train.returncode == 130
    assert "and saved" in err.splitlines()[-1]
    facts = shell.facts()
    assert facts["status"] == "cancelled"
    assert facts["checkpoints"][-1]["step"] == facts["step"] == facts["last_train"]["step"]
    resumed = shell.start("resume", str(folder.path), "--headless")
    shell.run_past(facts["step"])
    for sent in (signal.SIGINT, signal.SIGINT):
        resumed.send_signal(sent)
        time.sleep(0.2)
    _, err = resumed.communicate(timeout=PATIENCE)
    assert resumed.returncode == 130
    assert shell.facts()["status"] == "cancelled"
