"""`estimate` and `find-lr`: what they print, and how they end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.cli import estimate, find_lr, main
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.estimate import Estimate, RatePoint, RateSweep
from tui_trainer.contracts.job import Job
from tui_trainer.launch import preflight

Capture = pytest.CaptureFixture[str]
FOUND = Estimate(
    steps=200,
    epochs=2.5,
    examples=640,
    tokens=90_000,
    seconds=95.0,
    startup_seconds=4.0,
    step_seconds=0.4,
    evaluations=4,
    evaluation_seconds=2.0,
    peak_bytes=3 << 30,
    base_bytes=1 << 30,
    available_bytes=2 << 30,
    largest_pass=900,
    disk_bytes=50 << 20,
    checkpoint_bytes=10 << 20,
    checkpoints=4,
    device="cpu",
    measured=False,
    fits=False,
    micro_batch=2,
    accumulation=4,
    advice=["set training.batch_size = 2"],
    notices=["2 training rows are empty: left out"],
)


@pytest.fixture(autouse=True)
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.jsonl").write_text('{"question": "a", "answer": "b"}\n' * 9)
    (tmp_path / "job.toml").write_text('[data]\ntrain = "t.jsonl"\n[training]\nmax_steps = 40\n')


def test_a_job_that_does_not_fit_ends_with_1_and_a_hint(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[Any] = []

    def answer(*given: Any) -> Estimate:
        asked.append(given)
        return FOUND

    monkeypatch.setattr(estimate, "ask", answer)
    assert main.main(["estimate", "job.toml", "--set", "training.batch_size=4"]) == 1
    (question, checked, kind) = asked[0]
    assert (question, checked.training.batch_size, kind) == ("estimate", 4, Estimate)
    out, err = capsys.readouterr()
    assert "time         1:35: 400 ms per step, 4 evaluations of 2.0 s, 4.0 s to start" in out
    assert "3.0 GiB of 2.0 GiB on cpu: does not fit (extrapolated from smaller passes" in out
    assert err.splitlines() == [
        "warning: 2 training rows are empty: left out",
        "set training.batch_size = 2",
    ]
    assert main.main(["estimate", "job.toml", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["micro_batch"] == 2
    assert not (tmp_path / "runs").exists()


def test_the_length_is_in_epochs_or_one_epoch() -> None:
    one = msgspec.structs.replace(FOUND, epochs=1.0, examples=1)
    assert dict(estimate.lines(FOUND))["steps"] == "200: 2.5 epochs of 640 examples"
    assert dict(estimate.lines(one))["steps"] == "200: 1 epoch of 1 example"


def test_find_lr_draws_and_proposes(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        RatePoint(learning_rate=10.0**-i, loss=float(i), smoothed=float(i)) for i in (5, 4, 3, 2)
    ]
    sweep = RateSweep(
        points=points, steepest=1e-3, lowest=1e-2, proposed=1e-3, diverged=None, reason="because"
    )
    monkeypatch.setattr(find_lr, "ask", lambda *given: sweep)
    assert main.main(["find-lr", "job.toml"]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("training.learning_rate = 1e-3\n") and "▲" in out
    assert err == "because\n"
    assert main.main(["find-lr", "job.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["proposed"] == 1e-3
    monkeypatch.setattr(
        find_lr, "ask", lambda *g: RateSweep(**{**_fields(sweep), "proposed": None})
    )
    assert main.main(["find-lr", "job.toml"]) == 1
    assert "no rate is proposed: because" in capsys.readouterr().err


def _fields(sweep: RateSweep) -> dict[str, Any]:
    return {name: getattr(sweep, name) for name in sweep.__struct_fields__}


@pytest.mark.parametrize(
    ("status", "stderr", "expected", "exit_status"),
    [
        (2, b"noise\ndata.val_split needs more\n", "data.val_split needs more", 2),
        (-9, b"", "killed while it tested the job, most likely because memory ran out", 1),
        (-11, b"", "exit status -11", 1),
    ],
)
def test_an_engine_without_a_result_is_one_sentence(
    nothing_needed: None,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    stderr: bytes,
    expected: str,
    exit_status: int,
) -> None:
    done = subprocess.CompletedProcess([], status, b"", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *given, **more: done)
    job = Job(data={"train": "t.jsonl"})  # type: ignore[arg-type]
    with pytest.raises(UserError) as caught:
        preflight.ask("estimate", job, Estimate)
    assert expected in str(caught.value)
    assert caught.value.exit_status == exit_status


@pytest.mark.slow
def test_the_real_engine_answers(capsys: Capture, tiny_base: Path) -> None:
    rows = [json.dumps({"question": f"what is {i}?", "answer": f"cat {i}"}) for i in range(30)]
    Path("t.jsonl").write_text("\n".join(rows))
    model = f"model={tiny_base}"
    assert main.main(["estimate", "job.toml", "--set", model, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["steps"], found["examples"], found["fits"]) == (40, 30, True)
    assert main.main(["estimate", "job.toml", "--set", "model=nobody/none", "--json"]) == 2
    err = capsys.readouterr().err
    assert "model 'nobody/none' is neither a local folder" in err and "Traceback" not in err
