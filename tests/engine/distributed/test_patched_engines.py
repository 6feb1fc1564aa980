"""Processes whose engine is patched, so that one of them fails or a command arrives then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.engine.distributed.conftest import LAUNCH_TWO, NO_DROPOUT, Start
from tui_trainer.store.runs.run_folder import RunFolder

pytestmark = pytest.mark.slow

Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]
MakeRun = Callable[..., RunFolder]


TROUBLE = """
import os, sys
from tui_trainer.engine import __main__, loop

sums = loop.weighted_sum

def troubled(model, batch, way, **options):
    if os.environ["RANK"] == "1":
        if batch.segments is not None and len(batch.segments.lengths) > 1:
            raise MemoryError
        if loop_state["passes"] == 6:
            loop_state["passes"] += 1
            summed, hits = sums(model, batch, way, **options)
            return summed * float("nan"), hits
        loop_state["passes"] += 1
    return sums(model, batch, way, **options)

loop_state = {"passes": 0}
loop.weighted_sum = troubled
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_problems_of_one_process_are_handled_by_all(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    start: Start,
    metrics: Metrics,
    tmp_path: Path,
) -> None:
    script = tmp_path / "troubled.py"
    script.write_text(TROUBLE)
    settings = {"batch_size": 4, "max_steps": 6, "eval_every": 0, "checkpoint_every": 0}
    one, two = (
        make_run(lora=NO_DROPOUT, training=settings),
        make_run(lora=NO_DROPOUT, training=settings),
    )
    together = start(two, module=LAUNCH_TWO, script=str(script))
    assert run_engine(one) == 0
    assert together.wait(120) == 0, two.log_tail()
    warned = [event.message for event in two.events() if event.kind == "warning"]
    assert any(message.startswith("out of memory with 2 examples per pass") for message in warned)
    rows = metrics(two)
    skipped = [step for kind, step in rows if rows[kind, step].get("nonfinite")]
    assert len(skipped) == 1
    for step in range(1, skipped[0]):
        assert rows["train", step]["loss"] == pytest.approx(metrics(one)["train", step]["loss"])
    assert rows["train", 6]["loss"] is not None


CANCELLED = """
import os, sys, time
from pathlib import Path
from tui_trainer.contracts.runs.run import Command
from tui_trainer.engine import __main__
from tui_trainer.engine.distributed import process_group
from tui_trainer.engine.validation import validation_progress
from tui_trainer.engine.validation.validation_progress import ValidationProgress
from tui_trainer.store import atomic

validation_progress.REPORT_SECONDS = 0.0
made, add = [], ValidationProgress.add

def first_of_second(progress):
    if progress not in made:
        made.append(progress)
        return len(made) == 2
    return False

def cancelled(progress, *arguments):
    if first_of_second(progress):
        if os.environ["RANK"] == "0":
            with atomic.appending(Path(sys.argv[1]) / "control.jsonl") as lines:
                lines.append(Command(id="skip", time=time.time(), command="skip-evaluation"))
        elif sys.argv.pop() == "none":
            ranks = progress._session.ranks
            note = f"{process_group._STOP}-{ranks._divisions}"
            process_group._store().wait([note])
    return add(progress, *arguments)

ValidationProgress.add = cancelled
sys.exit(__main__.main(sys.argv[1:2]))
"""


@pytest.mark.parametrize("sharding", ["none", "fsdp"])
def test_an_evaluation_of_two_processes_is_cancelled_in_both(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    start: Start,
    metrics: Metrics,
    tmp_path: Path,
    sharding: str,
) -> None:
    script = tmp_path / "cancelled.py"
    script.write_text(CANCELLED)
    settings = {"batch_size": 1, "checkpoint_every": 0, "max_steps": 6, "eval_every": 2}
    data = {"val_split": 0.5}
    one = make_run(data=data, lora=NO_DROPOUT, training=settings)
    two = make_run(
        data=data, lora=NO_DROPOUT, training={**settings, "processes": 2, "sharding": sharding}
    )
    together = start(two, LAUNCH_TWO, str(script), sharding)
    assert run_engine(one) == 0
    assert together.wait(240) == 0, two.log_tail()
    (answer,) = [event for event in two.events() if event.kind == "command"]
    assert answer.message == (
        "evaluation at step 4 cancelled after 2 of 10 examples; training continues"
    )
    alone, shared = metrics(one), metrics(two)
    assert {step for kind, step in shared if kind == "eval"} == {2, 6}
    for key, row in shared.items():
        name = "loss" if key[0] == "train" else "val_loss"
        assert row[name] == pytest.approx(alone[key][name], rel=5e-5)


BROKEN = """
import os, sys
from tui_trainer.engine import __main__, loop

def broken(model, batch, way, **options):
    raise RuntimeError("its cable is loose")

if os.environ["RANK"] == "1":
    loop.weighted_sum = broken
sys.exit(__main__.main(sys.argv[1:]))
"""


def test_the_run_reports_the_error_of_another_process(
    make_run: MakeRun, start: Start, tmp_path: Path
) -> None:
    script = tmp_path / "broken.py"
    script.write_text(BROKEN)
    folder = make_run()
    assert start(folder, module=LAUNCH_TWO, script=str(script)).wait(120) == 1
    state = folder.state()
    assert state is not None
    assert (state.state, state.step) == ("failed", 0)
    assert state.message == "process 1: RuntimeError: its cable is loose"
