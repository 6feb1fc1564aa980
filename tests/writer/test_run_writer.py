"""A loop of one's own, recorded like a run of ours."""

from __future__ import annotations

import gc
import json
import math
import stat
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from tui_trainer.contracts.errors import UserError
from tui_trainer.hardware import sampler
from tui_trainer.launch.engine_process import check_startable
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.runs.run_reader import RunReader
from tui_trainer.writer import RunWriter
from tui_trainer.writer.coerce import number

MakeRun = Callable[..., RunWriter]


def folder_of(run: RunWriter) -> RunFolder:
    """The run's folder, which must be there."""
    assert run.path is not None
    return RunFolder(run.path)


def rows_of(folder: RunFolder) -> list[dict[str, Any]]:
    """Every line of `metrics.jsonl`; one that is no JSON fails the test."""
    return [json.loads(line) for line in folder.metrics_file.read_bytes().splitlines()]


def test_three_lines_make_a_run_that_the_monitor_reads(tmp_path: Path) -> None:
    with RunWriter(tmp_path, name="mine", total_steps=3, config={"width": 32}) as run:
        for step in (1, 2, 3):
            run.log(step, loss=3.0 / step, lr=1e-3, grad_norm=0.5, tokens=64)
        run.log(3, val_loss=1.25)

    folder = folder_of(run)
    reader = RunReader(RunLocation(folder.path, "run", "mine", "mine"))
    while reader.read()[1]:
        pass
    view = reader.view()
    assert view.summary.status == "completed"
    assert view.summary.name == "mine"
    assert (view.summary.step, view.summary.total_steps) == (3, 3)
    assert view.summary.best_val_loss == 1.25
    assert view.train.column("loss").tolist() == [3.0, 1.5, 1.0]
    assert view.train.column("learning_rate").tolist() == [1e-3] * 3
    assert view.evals.column("val_loss").tolist() == [1.25]
    assert not view.commandable
    assert view.warnings == ()
    info = folder.loop_info()
    assert info is not None
    assert info.config == {"width": 32}


def test_rows_are_there_before_log_returns_and_for_the_user_alone(make_run: MakeRun) -> None:
    run = make_run()
    run.log(1, loss=1.0)
    folder = folder_of(run)
    assert [row["loss"] for row in rows_of(folder)] == [1.0]
    assert stat.S_IMODE(folder.metrics_file.stat().st_mode) == 0o600
    assert folder.status() == "training"


def test_it_is_listed_and_cannot_be_resumed(make_run: MakeRun) -> None:
    run = make_run(program="my_script.py")
    run.finish("failed", "ran away")
    folder = folder_of(run)
    assert run_folder.find_run("mine", folder.path.parent).path == folder.path
    assert folder.info() is None
    with pytest.raises(UserError, match=r"my_script\.py.*resume it with that program"):
        check_startable(folder)
    assert [event.message for event in folder.events() if event.kind == "error"] == ["ran away"]


def test_one_call_may_hold_training_and_evaluation(make_run: MakeRun) -> None:
    run = make_run()
    run.log(5, {"train/loss": 2.0, "eval/loss": 1.5, "epoch": 0.5}, eval_accuracy=0.25)
    train, evaluation = rows_of(folder_of(run))
    assert (train["kind"], train["step"], train["loss"], train["epoch"]) == ("train", 5, 2.0, 0.5)
    assert evaluation["kind"] == "eval"
    assert (evaluation["val_loss"], evaluation["val_accuracy"]) == (1.5, 0.25)


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "/etc", "a..b", "x" * 101])
def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="run name"):
        RunWriter(tmp_path / "runs", name=name)
    assert not (tmp_path / "runs").exists()


def test_an_exception_in_the_loop_is_recorded_as_the_end(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        RunWriter(tmp_path, name="mine", total_steps=9, hardware=False) as run,
    ):
        run.log(1, loss=1 / 0)
    state = folder_of(run).state()
    assert state is not None
    assert (state.state, state.message) == ("failed", "ZeroDivisionError: division by zero")


def test_ctrl_c_is_recorded_as_an_interruption(tmp_path: Path) -> None:
    with (
        pytest.raises(KeyboardInterrupt),
        RunWriter(tmp_path, name="mine", hardware=False) as run,
    ):
        run.log(7, loss=1.0)
        raise KeyboardInterrupt
    state = folder_of(run).state()
    assert state is not None
    assert (state.state, state.message) == ("cancelled", "interrupted at step 7")


@pytest.mark.slow
def test_deleting_a_writer_ends_its_run(tmp_path: Path) -> None:
    run = RunWriter(tmp_path, name="mine", total_steps=10, hardware=False)
    run.log(4, loss=1.0)
    folder = folder_of(run)
    del run
    gc.collect()
    state = folder.state()
    assert state is not None
    assert state.state == "cancelled"
    assert "at step 4 of 10" in state.message


def test_after_the_end_nothing_is_written(make_run: MakeRun) -> None:
    run = make_run()
    run.log(1, loss=1.0)
    run.finish()
    run.log(2, loss=1.0)
    run.event("warning", "late")
    run.finish("failed", "late")
    assert len(rows_of(folder_of(run))) == 1
    assert folder_of(run).status() == "completed"
    assert not run.active


@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "LOCAL_RANK"])
def test_only_the_main_process_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "1")
    with RunWriter(tmp_path / "runs", name="mine") as run:
        run.control(on_checkpoint=lambda: None)
        run.log(1, loss=1.0)
        assert run.stopping is None
        assert list(run.commands()) == []
    assert run.path is None
    assert not (tmp_path / "runs").exists()


def test_a_folder_that_cannot_be_created_warns_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(RuntimeWarning, match="training continues without recording") as reported:
        run = RunWriter(tmp_path / "file" / "runs", name="mine")
        for step in range(50):
            run.log(step, loss=1.0)
        run.finish()
    assert len(reported) == 1


def test_a_disk_that_fills_up_and_empties_again(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    from tui_trainer.writer import run_files

    monkeypatch.setattr(run_files, "RETRY_SECONDS", 0.0)
    run = make_run()
    run.log(1, loss=1.0)
    real, full = os.write, [True]

    def write(descriptor: int, data: Any) -> int:
        if full[0] and b'"kind":"train"' in bytes(data):
            real(descriptor, bytes(data)[:7])  # what still fitted
            raise OSError(28, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    with pytest.warns(RuntimeWarning, match="No space left on device") as reported:
        run.log(2, loss=1.0)
        run.log(3, loss=1.0)
    assert len(reported) == 1
    full[0] = False
    run.log(4, loss=4.0)

    folder = folder_of(run)
    whole = []
    for line in folder.metrics_file.read_bytes().splitlines():
        try:
            whole.append(json.loads(line)["step"])
        except ValueError:
            continue
    assert whole == [1, 4]
    assert "2 rows of metrics" in next(e.message for e in folder.events() if e.kind == "warning")


def test_warnings_that_are_errors_do_not_end_the_training(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log(1, loss="much", kind=2.0)
        run.log("one", loss=1.0)  # type: ignore[arg-type]
    messages = capsys.readouterr().err
    assert "loss is a str 'much', not a number" in messages
    assert "'kind' cannot be a metric's name" in messages
    assert "step 'one' is not a whole number" in messages
    assert not folder_of(run).metrics_file.exists()


class Hostile:
    """An object of a library that has bad days."""

    def item(self) -> float:
        raise RuntimeError("device lost")

    def __str__(self) -> str:
        raise RuntimeError("not even a text")


UNUSUAL: list[tuple[object, float | None]] = [
    (True, 1),
    (np.float32(0.5), 0.5),
    (np.int64(7), 7),
    (np.array([2.5]), 2.5),
    (10**400, math.inf),
    (-(10**400), -math.inf),
    (2**64, float(2**64)),
    ("1.5", None),
    (b"1", None),
    (1j, None),
    (np.zeros(3), None),
    ([1.0], None),
    (Hostile(), None),
]


@pytest.mark.parametrize(("value", "expected"), UNUSUAL, ids=[type(v).__name__ for v, _ in UNUSUAL])
def test_numbers_of_any_library(value: object, expected: float | None) -> None:
    assert number(value) == expected


def test_numbers_of_torch(train_extra: None) -> None:
    import torch

    assert number(torch.tensor(1.5)) == 1.5
    assert number(torch.tensor([3.0], requires_grad=True)) == 3.0
    assert number(torch.tensor(2.5, dtype=torch.bfloat16)) == 2.5
    assert number(torch.zeros(2, 2)) is None


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-(2**70), 2**70),
            st.dictionaries(
                st.text(max_size=8),
                st.one_of(
                    st.floats(),
                    st.integers(-(10**30), 10**30),
                    st.text(max_size=5),
                    st.none(),
                    st.booleans(),
                    st.floats(width=32).map(np.float32),
                    st.just(Hostile()),
                ),
                max_size=6,
            ),
        ),
        max_size=6,
    )
)
def test_every_logged_value_is_recorded_as_valid_json(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, dict[str, object]]]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run = RunWriter(tmp_path_factory.mktemp("odd"), name="odd", hardware=False)
        for step, values in rows:
            run.log(step, values, loss=math.nan)
        run.finish()
    folder = folder_of(run)
    if not rows:
        return
    for line in folder.metrics_file.read_bytes().splitlines():
        row = json.loads(line, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
        assert all(row[name] is None for name in row.get("nonfinite", []))
        assert all(isinstance(v, int | float | None) for k, v in row.items() if k not in KEPT)
    assert folder.status() == "completed"


KEPT = ("kind", "nonfinite")


def test_any_configuration_is_recorded(make_run: MakeRun) -> None:
    loop: dict[str, Any] = {"rate": np.float32(0.5), "where": Path("data"), "nan": math.nan}
    loop["self"] = loop
    run = make_run(config={**loop, "hostile": Hostile(), 3: {1, 2}, "big": 2**80, "bytes": b"x"})
    info = folder_of(run).loop_info()
    assert info is not None
    assert info.config["rate"] == 0.5
    assert info.config["where"] == "data"
    assert info.config["nan"] == "nan"
    assert info.config["hostile"] == "Hostile"
    assert info.config["3"] == [1, 2]


def test_speed_and_remaining_time_exclude_evaluations(make_run: MakeRun) -> None:
    import time

    run = make_run(total_steps=100)
    for step in range(1, 6):
        run.log(step, loss=1.0, tokens=10)
        with run.evaluating():
            assert folder_of(run).status() == "evaluating"
            time.sleep(0.2)  # far longer than a busy machine takes for a row
    run.log(6, loss=1.0)
    times = [row["step_time_ms"] for row in rows_of(folder_of(run))[1:]]
    assert max(times) < 200
    run.enter("training", "look")
    state = folder_of(run).state()
    assert state is not None
    assert state.eta_seconds is not None
    assert state.eta_seconds < 94 * 0.2
    assert RunFolder(folder_of(run).path).state() == state


def test_low_memory_is_reported_as_an_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "_ram", lambda: (97, 100))
    with RunWriter(tmp_path, name="mine", total_steps=1) as run:
        run.log(1, loss=1.0)
        folder = folder_of(run)
        for _ in range(500):
            if folder.hardware_file.exists() and folder.hardware_file.stat().st_size:
                break
            time.sleep(0.01)
    (reported,) = [event for event in folder.events() if event.detail.get("alarm") == "ram"]
    assert reported.kind == "warning" and reported.message.startswith("RAM is 97 % full")
