"""A run whose rows are tokenised by workers: no worker outlives it, however it ends, and it resumes
with bit-exact results."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.engine.checkpoints.test_kills import LABELLED, TRAINING
from tests.engine.checkpoints.test_resume import assert_same, steps_written
from tui_trainer.store.runs import run_control
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Start = Callable[[RunFolder], subprocess.Popen[bytes]]
Wait = Callable[..., None]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]

WORKERS = {"workers": 2, "cache": False}
# Long enough that neither kill finds it done.
LONG = {**TRAINING, "max_steps": 80, "eval_every": 20, "checkpoint_every": 9}


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the engine that uses workers for few rows, in its own session."""
    started = []

    def go(folder: RunFolder) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.data.pooled_engine", str(folder.path)],
            cwd=Path(__file__).parents[3],
            stdout=subprocess.DEVNULL,
            stderr=folder.log_file.open("ab"),
            start_new_session=True,
        )
        started.append(process)
        return process

    yield go
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def slow_run(make_run: MakeRun, tiny_base: Path, tmp_path: Path) -> RunFolder:
    """A run with a chat template that takes minutes over its rows."""
    base = tmp_path / "slow"
    shutil.copytree(tiny_base, base)
    counts = "{% for i in range(90000) %}{% endfor %}"
    template = base / "chat_template.jinja"
    if template.exists():
        template.write_text(counts + template.read_text())
    else:
        file = base / "tokenizer_config.json"
        values = json.loads(file.read_text())
        file.write_text(json.dumps({**values, "chat_template": counts + values["chat_template"]}))
    rows = [{"question": f"what is {i}?", "answer": f"the cat {i}"} for i in range(6_000)]
    return make_run(rows, model=str(base), data=WORKERS)


@pytest.fixture
def tokenising(slow_run: RunFolder, start: Start, wait_for: Wait) -> tuple[Any, list[Any]]:
    """The engine in the middle of it, and the processes that it has started."""
    engine = start(slow_run)

    def says_so() -> bool:
        state = slow_run.state()
        assert engine.poll() is None, slow_run.log_file.read_text()[-2000:]
        return state is not None and bool(state.message) and "tokenising: " in str(state.message)

    wait_for(says_so, 120)
    children = psutil.Process(engine.pid).children(recursive=True)
    assert sum("spawn_main" in " ".join(child.cmdline()) for child in children) == 2
    return engine, children


def all_gone(processes: list[Any]) -> bool:
    """Whether none of them runs any more (a container's init may leave the dead as zombies)."""
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


@pytest.mark.slow
def test_where_the_engine_is_killed_its_workers_end(
    tokenising: tuple[Any, list[Any]], wait_for: Wait
) -> None:
    engine, children = tokenising
    engine.kill()
    engine.wait()
    wait_for(lambda: all_gone(children), 120)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["stop", "cancel", "interrupt"])
def test_whoever_ends_the_run_need_not_wait_for_the_rows(
    how: str, slow_run: RunFolder, tokenising: tuple[Any, list[Any]], wait_for: Wait
) -> None:
    engine, children = tokenising
    if how == "interrupt":
        os.killpg(engine.pid, signal.SIGINT)  # Ctrl-C reaches all of a terminal's processes
    else:
        run_control.send(slow_run, how)  # type: ignore[arg-type]
    assert engine.wait(120) == 130
    wait_for(lambda: all_gone(children), 120)
    assert slow_run.status() == "cancelled"
    assert "Traceback" not in slow_run.log_file.read_text()


@pytest.mark.slow
def test_a_killed_worker_ends_the_run_with_one_sentence(
    slow_run: RunFolder, tokenising: tuple[Any, list[Any]], wait_for: Wait
) -> None:
    engine, children = tokenising
    next(c for c in children if "spawn_main" in " ".join(c.cmdline())).kill()
    assert engine.wait(120) == 1
    wait_for(lambda: all_gone(children), 120)
    assert slow_run.status() == "failed"
    messages = slow_run.log_file.read_text().strip().splitlines()
    assert len(messages) == 1 and "was killed by SIGKILL" in messages[0], messages


@pytest.mark.slow
@pytest.mark.parametrize("task", ["causal-lm", "classification"])
def test_killed_twice_at_random_instants_it_is_the_run_of_one_process(
    task: str, make_run: MakeRun, run_engine: Any, start: Start, metrics: Metrics
) -> None:
    more: dict[str, Any] = {} if task == "causal-lm" else {"rows": LABELLED, "task": task}
    whole = make_run(training=LONG, data={"cache": False}, **more)
    assert run_engine(whole) == 0
    torn = make_run(training=LONG, data=WORKERS, **more)
    chance = random.Random(f"20261122 {task}")
    for _ in range(2):
        before, engine = steps_written(torn), start(torn)
        deadline = time.monotonic() + 60
        while steps_written(torn) == before and time.monotonic() < deadline:
            assert engine.poll() is None, torn.log_file.read_text()[-2000:]
            time.sleep(0.001)
        time.sleep(chance.uniform(0.0, 0.2))
        engine.kill()
        assert engine.wait() == -signal.SIGKILL, "it was still at it"
    assert start(torn).wait() == 0
    assert_same(whole, torn, metrics)
    assert [event.kind for event in torn.events()].count("resumed") == 2
