"""The saved adapter is the best evaluation's, as is `checkpoints/best`, for both tasks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from safetensors.torch import load_file

from tests.engine.checkpoints.test_kills import LABELLED
from tests.engine.conftest import At, rollbacks
from tui_trainer.cli import main as cli
from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.validation import evaluate
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs import checkpoint_scores, checkpoints
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]
Engine = Callable[..., int]
Scores = Callable[[dict[int, float]], None]
Capture = pytest.CaptureFixture[str]
TASKS = ["causal-lm", "classification"]
METRICS = {"causal-lm": "val_loss", "classification": "val_f1_macro"}
TRAINING: dict[str, Any] = {
    "max_steps": 12,
    "batch_size": 3,
    "eval_every": 2,
    "checkpoint_every": 5,
    "keep_checkpoints": 1,
}
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture
def scores(monkeypatch: pytest.MonkeyPatch) -> Scores:
    """Sets how good each evaluation is, by step: the default metric of both tasks follows it."""

    def plan(by_step: dict[int, float]) -> None:
        original = evaluate._measure_all

        def measured(session: Any) -> Any:
            _, accuracy, scored = original(session)
            value = by_step[session.state.step]
            if scored is None:
                return 1 - value, accuracy, None
            return 1 - value, accuracy, msgspec.structs.replace(scored, f1_macro=value)

        monkeypatch.setattr(evaluate, "_measure_all", measured)

    return plan


@pytest.fixture
def new_run(make_run: MakeRun) -> Callable[..., RunFolder]:
    def make(task: str, advisor: dict[str, Any] | None = None, **training: Any) -> RunFolder:
        more: dict[str, Any] = {} if advisor is None else {"advisor": advisor}
        changes = {"training": {**TRAINING, **training}, "task": task, **more}
        return make_run(**changes) if task == "causal-lm" else make_run(LABELLED, **changes)

    return make


def sha256(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def assert_saved(folder: RunFolder, step: int) -> None:
    """The saved adapter, `checkpoints/best`, state and card have the weights of `step`."""
    best = folder.checkpoints_dir / "best"
    assert best.resolve().name == checkpoints.checkpoint_name(step)
    assert checkpoints.problem(best.resolve()) is None
    assert sha256(folder.adapter_dir) == sha256(best)
    state = folder.state()
    assert state is not None and state.best is not None
    assert (state.saved_step, state.best.step) == (step, step)
    assert f"| saved weights | of step {step}, the best (" in card(folder)


def card(folder: RunFolder) -> str:
    return (folder.adapter_dir / "README.md").read_text()


def saved_step(folder: RunFolder) -> int | None:
    state = folder.state()
    assert state is not None
    return state.saved_step


@pytest.mark.parametrize("task", TASKS)
def test_a_completed_run_gives_its_best_evaluation(
    task: str, new_run: MakeRun, run_engine: Engine, scores: Scores, capsys: Capture
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.8, 12: 0.2})
    folder = new_run(task)
    assert run_engine(folder) == 0
    assert_saved(folder, 4)
    state = folder.state()
    assert state is not None and state.state == "completed"
    assert f"with the weights of step 4, the best ({METRICS[task]} 0." in state.message
    last = checkpoints.list_checkpoints(folder)[-1][1]
    assert last.name == "step-00000012"
    assert sha256(last) != sha256(folder.adapter_dir)
    capsys.readouterr()
    assert cli.main(["runs", "show", str(folder.path)]) == 0
    assert f"4, the best ({METRICS[task]} 0." in capsys.readouterr().out
    assert cli.main(["runs", "show", str(folder.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["saved_step"], shown["best"]["metric"]) == (4, METRICS[task])
    assert shown["best"]["step"] == 4


@pytest.mark.parametrize("task", TASKS)
def test_an_early_stopped_run_gives_its_best_evaluation(
    task: str, new_run: MakeRun, run_engine: Engine, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.9, 12: 0.2})
    folder = new_run(task, early_stopping_patience=2)
    assert run_engine(folder) == 0
    assert folder.status() == "early_stopped"
    assert_saved(folder, 4)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("ending", ["cancel", "stop"])
def test_a_resumed_run_gives_the_best_evaluation_of_before(
    task: str, ending: str, new_run: MakeRun, run_engine: Engine, at_step: At, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = new_run(task)
    at_step(9, ending)
    assert run_engine(folder) == (130 if ending == "cancel" else 0)
    if ending == "stop":
        assert_saved(folder, 4)
    assert run_engine(folder) == 0
    assert_saved(folder, 4)
    report = folder.evaluation()
    assert (report is None) == (task == "causal-lm")
    assert report is None or (report.best is not None and report.best.step == 4)


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_a_run_rolled_back_before_its_best_gives_the_best_that_remains(
    task: str, new_run: MakeRun, run_engine: Engine, scores: Scores, capsys: Capture
) -> None:
    """Step 4 is the best before step 5, but was deleted when step 8 was better."""
    scores({2: 0.3, 4: 0.6, 6: 0.5, 8: 0.9, 10: 0.4, 12: 0.2})
    folder = new_run(task, keep_checkpoints=9)
    assert run_engine(folder) == 0
    assert_saved(folder, 8)
    checkpoints.discard(folder.checkpoints_dir / "step-00000004")
    scores({6: 0.2, 8: 0.25, 10: 0.1, 12: 0.2})
    assert run_engine(folder, "--from", "5") == 0
    assert_saved(folder, 2)
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    assert any(
        "the weights of step 4, the best evaluation" in text and "the best is now step 2" in text
        for text in warnings
    )
    assert (folder.checkpoints_dir / "superseded" / "step-00000008").is_dir()


@pytest.mark.parametrize("task", TASKS)
def test_an_automatic_rollback_supersedes_the_best(
    task: str,
    new_run: MakeRun,
    run_engine: Engine,
    at_step: At,
    monkeypatch: pytest.MonkeyPatch,
    scores: Scores,
) -> None:
    from tui_trainer.engine import execute_commands, loop
    from tui_trainer.engine.state.session import RollbackPoint

    scores({2: 0.3, 4: 0.6, 6: 0.5, 8: 0.9, 10: 0.4, 12: 0.2})
    folder = new_run(task, keep_checkpoints=9)
    original = execute_commands.execute_commands
    asked: list[bool] = []

    def execute(session: Any) -> Any:
        if session.state.step == 9 and not asked:
            asked.append(True)
            scores({6: 0.2, 8: 0.25, 10: 0.1, 12: 0.2})
            point = checkpoints.find_checkpoint(folder, "step-00000005")
            assert point is not None
            session.pending_rollback = RollbackPoint(point, "a test")
        return original(session)

    monkeypatch.setattr(loop, "execute_commands", execute)
    monkeypatch.setattr(loop, "may_have_commands", lambda _: True)
    assert run_engine(folder) == 0
    (event,) = rollbacks(folder)
    assert "the best evaluation is now step 4" in event.message
    assert_saved(folder, 4)


@pytest.mark.slow
def test_the_metric_and_the_saved_step_can_be_set(
    new_run: MakeRun, run_engine: Engine, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    worst = new_run("causal-lm", best_metric="max:val_perplexity")
    assert run_engine(worst) == 0
    assert_saved(worst, 12)
    loss = new_run("classification", best_metric="val_loss")
    assert run_engine(loss) == 0
    assert_saved(loss, 4)
    last = new_run("causal-lm", save="last")
    assert run_engine(last) == 0
    assert saved_step(last) == 12
    assert "| saved weights | of step 12, the last |" in card(last)
    assert (last.checkpoints_dir / "best").resolve().name == "step-00000004"
    assert sha256(last.adapter_dir) == sha256(last.checkpoints_dir / "step-00000012")


@pytest.mark.parametrize(("data", "every"), [({"val_split": None}, 2), ({}, 0)])
def test_without_evaluations_in_between_the_last_step_is_saved(
    data: dict[str, Any], every: int, make_run: MakeRun, run_engine: Engine
) -> None:
    folder = make_run(training={**TRAINING, "eval_every": every}, data=data)
    assert run_engine(folder) == 0
    assert saved_step(folder) == 12
    assert sha256(folder.adapter_dir) == sha256(folder.checkpoints_dir / "step-00000012")
    assert (folder.checkpoints_dir / "best").exists() == (not every)


def test_the_last_evaluation_can_be_the_best_of_all(
    new_run: MakeRun, run_engine: Engine, scores: Scores
) -> None:
    """Also where a checkpoint is due after the last step, but no evaluation."""
    scores({5: 0.3, 10: 0.4, 12: 0.9})
    folder = new_run("causal-lm", eval_every=5, checkpoint_every=4)
    assert run_engine(folder) == 0
    assert_saved(folder, 12)
    state = folder.state()
    assert state is not None and "with the weights of step 12, the best (val" in state.message


def test_killed_before_the_best_was_pointed_at_a_resume_points_at_it(
    new_run: MakeRun, run_engine: Engine, scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = new_run("causal-lm")

    def killed(run: RunFolder, name: str) -> None:
        if name == "step-00000004":
            raise UserError("killed", 1)
        original(run, name)

    original = checkpoints.point_best
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "point_best", killed)
        assert run_engine(folder) == 1
    assert checkpoints.best_name(folder) == "step-00000002"
    assert checkpoints.find_checkpoint(folder, "best") is not None, "the former best stays"
    assert run_engine(folder) == 0
    assert_saved(folder, 4)


def test_a_damaged_best_is_replaced_by_the_best_that_remains(
    new_run: MakeRun, run_engine: Engine, at_step: At, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = new_run("causal-lm", keep_checkpoints=9)
    at_step(9, "stop")
    assert run_engine(folder) == 0
    (folder.checkpoints_dir / "step-00000004" / WEIGHTS).write_bytes(b"damaged")
    assert run_engine(folder) == 0
    assert_saved(folder, 10)


def test_a_run_of_an_earlier_version_keeps_its_best(
    new_run: MakeRun, run_engine: Engine, at_step: At, scores: Scores
) -> None:
    """Its state has no `best`, and its job has the former name of the metric."""
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = new_run("classification", early_stopping_metric="val_loss")
    at_step(9, "stop")
    assert run_engine(folder) == 0
    for step, path in checkpoints.list_checkpoints(folder):
        trainer = json.loads((path / checkpoint_scores.TRAINER).read_text())
        del trainer["best"], trainer["scores"]
        (path / checkpoint_scores.TRAINER).write_text(json.dumps(trainer))
        (path / checkpoints.MANIFEST).unlink()
        checkpoints.seal(path, step)
    info = json.loads(folder.info_file.read_text())
    assert info["job"]["training"].pop("best_metric") == "val_loss"
    del info["job"]["training"]["save"]
    info["job"]["training"]["early_stopping_metric"] = "val_loss"
    folder.info_file.write_text(json.dumps(info))
    assert run_engine(folder) == 0
    assert_saved(folder, 4)
    state = folder.state()
    assert state is not None and state.best is not None and state.best.metric == "val_loss"


@pytest.mark.parametrize("task", TASKS)
def test_a_checkpoint_is_added_as_an_adapter(
    task: str, new_run: MakeRun, run_engine: Engine, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = new_run(task)
    assert run_engine(folder) == 0
    store, info = AdapterStore(), folder.info()
    assert info is not None
    best = add_from(store, folder.checkpoints_dir / "best")
    whole = add_from(store, folder.path)
    last = add_from(store, folder.checkpoints_dir / "step-00000012", "last")
    assert best.name == "small-step-00000004"
    for name, step, value in ((best.name, 4, 0.8), (whole.name, 4, 0.8), (last.name, 12, 0.2)):
        added = store.get(name)
        assert (added.base_model, added.base_hash) == (info.base_model, info.base_hash)
        assert (added.run_id, added.lora, added.steps) == (info.id, info.job.lora, step)
        assert added.val_loss == pytest.approx(1 - value)
        assert added.train_loss is not None
        expected = 1 - value if task == "causal-lm" else value
        assert added.scores[METRICS[task]] == pytest.approx(expected)
        assert store.problem(name) is None
    assert sha256(best) == sha256(whole) != sha256(last)


def test_a_damaged_checkpoint_is_not_added(new_run: MakeRun, run_engine: Engine) -> None:
    folder = new_run("causal-lm")
    assert run_engine(folder) == 0
    path = folder.checkpoints_dir / "step-00000012"
    (path / "optimizer.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="checkpoint step-00000012 cannot be used: optimizer"):
        add_from(AdapterStore(), path)


def test_best_of_pissa_is_converted_and_its_checkpoint_refused(
    make_run: MakeRun, run_engine: Engine, scores: Scores
) -> None:
    scores({2: 0.3, 4: 0.8, 6: 0.5, 8: 0.4, 10: 0.7, 12: 0.2})
    folder = make_run(training=TRAINING, lora={"rank": 4, "alpha": 8, "init": "pissa"})
    assert run_engine(folder) == 0
    best = load_file(folder.checkpoints_dir / "best" / WEIGHTS)
    saved = load_file(folder.adapter_dir / WEIGHTS)
    for name, value in best.items():
        rows = saved[name][: len(value)] if ".lora_A." in name else saved[name][:, : value.shape[1]]
        assert bool((rows == value).all())
    with pytest.raises(UserError, match="add the adapter that the run saves at its end"):
        add_from(AdapterStore(), folder.checkpoints_dir / "best")


def test_the_adapter_can_be_used_elsewhere(
    make_run: MakeRun, run_engine: Engine, tiny_base: Path
) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_run(training=TRAINING)
    assert run_engine(folder) == 0
    info = folder.info()
    assert info is not None and info.base_hash is not None
    for file in folder.adapter_dir.iterdir():
        assert str(tiny_base.parent).encode() not in file.read_bytes(), file.name
    config = json.loads((folder.adapter_dir / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == tiny_base.name
    assert info.base_hash in card(folder)
    base = AutoModelForCausalLM.from_pretrained(tiny_base)
    PeftModel.from_pretrained(base, str(folder.adapter_dir))
    ours = AutoTokenizer.from_pretrained(folder.adapter_dir)
    theirs = AutoTokenizer.from_pretrained(tiny_base)
    assert ours.get_vocab() == theirs.get_vocab()
    assert ours("the cat sat")["input_ids"] == theirs("the cat sat")["input_ids"]
    assert ours.chat_template == theirs.chat_template
