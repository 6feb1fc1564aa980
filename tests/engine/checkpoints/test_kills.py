"""A run killed at a certain point and resumed gives bit-exact results, for both tasks."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.engine.checkpoints.test_resume import assert_same
from tui_trainer.engine import loop
from tui_trainer.engine.checkpoints import checkpoint
from tui_trainer.engine.recovery import pass_sizes_to_replay
from tui_trainer.engine.validation import evaluate
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
RunEngine = Callable[..., int]
Metrics = Callable[[RunFolder], dict[tuple[str, int], dict[str, Any]]]

TRAINING: dict[str, Any] = {
    "max_steps": 12,
    "batch_size": 2,
    "gradient_accumulation_steps": 3,
    "eval_every": 4,
    "checkpoint_every": 3,
    "keep_checkpoints": 2,
}
LABELLED = [
    {"text": f"the {('cat', 'dog', 'ran')[i % 3]} {i} {'x' * (i % 7)}", "label": i % 3}
    for i in range(30)
]
QUICK = "inside accumulation"
POINTS = (
    QUICK,
    "between gradients and update",
    "updated but not written down",
    "while evaluating",
    "evaluated but not saved",
    "while the copy is made",
    "while tensors are written",
    "before the manifest",
    "after the manifest",
    "before the best is pointed at",
    "while old ones are dropped",
    "while the folder is made safe",
    "while the adapter is written",
    "while paused",
)


@pytest.fixture
def new_run(make_run: MakeRun) -> Callable[[str], RunFolder]:
    def make(task: str) -> RunFolder:
        if task == "causal-lm":
            return make_run(training=TRAINING)
        return make_run(LABELLED, task=task, training=TRAINING)

    return make


def killed(folder: RunFolder, point: str) -> None:
    """Runs the engine until it kills itself at this place."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.engine.checkpoints.killed_engine", str(folder.path), point],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["causal-lm", "classification"])
def test_killed_inside_accumulation(
    task: str, new_run: Callable[[str], RunFolder], run_engine: RunEngine, metrics: Metrics
) -> None:
    whole, torn = new_run(task), new_run(task)
    assert run_engine(whole) == 0
    killed(torn, QUICK)
    assert torn.status() == "crashed"
    assert run_engine(torn) == 0
    assert_same(whole, torn, metrics)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS[1:])
@pytest.mark.parametrize("task", ["causal-lm", "classification"])
def test_killed_at_every_other_point(
    task: str,
    point: str,
    new_run: Callable[[str], RunFolder],
    run_engine: RunEngine,
    metrics: Metrics,
) -> None:
    whole, torn = new_run(task), new_run(task)
    assert run_engine(whole) == 0
    killed(torn, point)
    assert run_engine(torn) == 0
    assert_same(whole, torn, metrics)


def out_of_memory(patch: pytest.MonkeyPatch, module: Any, step: int, most: int) -> None:
    """In this step, or the evaluation after it, passes of more than `most` examples do not fit."""
    original = module.weighted_sum
    now = [0]
    original_step = loop.step

    def counted(session: Any) -> Any:
        now[0] = session.state.step + 1
        return original_step(session)

    def limited(model: Any, batch: Any, way: Any, **options: Any) -> Any:
        result = original(model, batch, way, **options)
        if now[0] == step and len(batch.segments.lengths) > most:
            raise torch.OutOfMemoryError("injected")
        return result

    patch.setattr(loop, "step", counted)
    patch.setattr(module, "weighted_sum", limited)


@pytest.mark.slow
@pytest.mark.parametrize(("module", "step"), [(loop, 5), (evaluate, 4)], ids=["step", "evaluation"])
def test_killed_after_memory_ran_out_it_groups_its_examples_as_it_did(
    module: Any, step: int, make_run: MakeRun, run_engine: RunEngine, metrics: Metrics
) -> None:
    """Though memory suffices when it is resumed. With dropout, the grouping shows in every bit."""
    training = {**TRAINING, "batch_size": 5, "gradient_accumulation_steps": 1,
                "checkpoint_every": 0}  # fmt: skip
    settings: dict[str, Any] = {"training": training, "lora": {"dropout": 0.2}}
    whole, torn = make_run(**settings), make_run(**settings)
    with pytest.MonkeyPatch.context() as patch:
        out_of_memory(patch, module, step, 1 if module is loop else 2)
        assert run_engine(whole) == 0
    reported = [e.detail["micro_batch"] for e in whole.events() if "micro_batch" in e.detail]
    assert reported == ([2, 1] if module is loop else [2])

    with pytest.MonkeyPatch.context() as patch:
        out_of_memory(patch, module, step, 1 if module is loop else 2)
        patch.setattr(checkpoint, "save", lambda *_, **__: None)  # nothing to go on from
        original = loop.update

        def update_or_die(session: Any, *rest: Any) -> Any:
            if session.state.step == step + 1:
                raise RuntimeError("injected")
            return original(session, *rest)

        patch.setattr(loop, "update", update_or_die)
        assert run_engine(torn) == 1
    assert run_engine(torn) == 0
    assert_same(whole, torn, metrics)


def test_memory_of_a_left_branch_is_not_replayed() -> None:
    from tui_trainer.contracts.runs.run import Event

    def ran_out(step: int, size: int) -> Event:
        return Event(time=0, step=step, kind="warning", detail={"micro_batch": size})

    rewound = Event(time=0, step=20, kind="resumed", detail={"rewound": True})
    events = [ran_out(10, 8), ran_out(30, 4), rewound, ran_out(25, 2)]
    assert pass_sizes_to_replay(events, 20) == [(25, "step", 2)]
    assert pass_sizes_to_replay(events, 0) == [(10, "step", 8), (25, "step", 2)]
