"""`runs list`, `show`, `diff` and `export` over folders made by hand."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.cli import main
from tui_trainer.cli.runs.export_rows import rows_of
from tui_trainer.contracts.job import DataSettings, Job
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.contracts.runs.run import RunState
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints, run_folder
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.watch.run_location import RunLocation
from tui_trainer.watch.tables.growing_table import MOST_ENTRIES

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., RunFolder]:
    """Makes a run `name` in `runs/` with one step, one evaluation and one checkpoint."""
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")

    def make(name: str, **state: Any) -> RunFolder:
        job = Job(name=name, data=DataSettings(train=str(data)))
        folder = run_folder.create_run(tmp_path / "runs", job)
        with atomic.appending(folder.metrics_file) as lines:
            lines.append(train_row(7))
            lines.append(EvalRecord(step=7, epoch=0.5, val_loss=1.5, time=3.0))
        with folder.metrics_file.open("ab") as file:
            file.write(b'garbage\n{"kind":"train","step":8,"torn')
        saved = folder.checkpoints_dir / "step-00000007"
        saved.mkdir(parents=True)
        (saved / "adapter.bin").write_bytes(b"x" * 2048)
        checkpoints.seal(saved, 7)
        checkpoints.point_best(folder, saved.name)
        facts: dict[str, Any] = {"state": "cancelled", "step": 7, "total_steps": 40} | state
        run_folder.write_state(folder, RunState(**facts))
        return folder

    return make


def train_row(step: int) -> TrainRecord:
    return TrainRecord(
        step=step,
        epoch=0.5,
        loss=None,
        learning_rate=1.6e-4,
        gradient_norm=0.8,
        step_time_ms=1.0,
        tokens=10,
        examples=1,
        time=2.0,
        nonfinite=["loss"],
    )


def printed(capsys: Capture, *arguments: str) -> str:
    assert main.main(arguments) == 0
    return capsys.readouterr().out


def test_the_list_shows_a_dead_run_as_crashed(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    crashed = make_run("left", state="training", pid=2**22 + 1, pid_created=5.0, best_val_loss=1.25)
    other = make_run("right")
    where = str(tmp_path / "runs")
    header, *rows = printed(capsys, "runs", "list", "--runs-dir", where).splitlines()
    assert (
        " ".join(header.split())
        == "NAME STATUS STEP LOSS BEST VAL TREND TOK/S REMAINING STARTED ID"
    )
    reported = {row.split()[0]: row for row in rows}
    assert reported["left"].split()[1:7] == ["crashed", "7", "/", "40", "–", "1.250"]
    assert reported["right"].endswith(other.path.name)
    documents = json.loads(printed(capsys, "runs", "list", "--runs-dir", where, "--json"))
    facts = {item["name"]: item for item in documents}
    assert facts["left"]["status"] == "crashed"
    assert facts["left"]["path"] == str(crashed.path)
    assert (facts["left"]["loss"], facts["left"]["val_loss"]) == (None, 1.5)


def test_an_empty_list_is_a_json_document_too(tmp_path: Path, capsys: Capture) -> None:
    assert printed(capsys, "runs", "list", "--runs-dir", str(tmp_path), "--json") == "[]\n"


def test_a_folder_with_a_broken_run_json_is_listed(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "run.json").write_text("not JSON")
    (tmp_path / "none").mkdir()
    text = printed(capsys, "runs", "list", "--runs-dir", str(tmp_path))
    assert text.splitlines()[1].split()[:2] == ["odd", "unknown"]
    assert "run.json  cannot be read" in printed(capsys, "runs", "show", str(tmp_path / "odd"))


def test_show_has_results_checkpoints_and_the_adapter_path(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    folder = make_run("mine", best_val_loss=1.5, best_step=7, message="stopped\x07 at step 7")
    folder.adapter_dir.mkdir()
    (folder.adapter_dir / "adapter_model.safetensors").touch()
    text = printed(capsys, "runs", "show", "mine", "--runs-dir", str(tmp_path / "runs"))
    facts = [" ".join(line.split()) for line in text.splitlines()]
    assert "status cancelled" in facts
    assert "message stopped\\x07 at step 7" in facts
    assert "step 7 / 40" in facts
    assert "loss – at step 7" in facts
    assert "best val_loss 1.500 at step 7" in facts
    assert "learning rate 1.6e-4" in facts
    saved = next(fact for fact in facts if fact.startswith("step-00000007"))
    assert saved.startswith("step-00000007 2.0 KiB, best, ") and ", saved 2" in saved
    assert f"adapter {folder.adapter_dir}" in facts
    assert "peak rate 2e-4, cosine" in facts


def test_show_as_json_names_damaged_checkpoints(
    make_run: Callable[..., RunFolder], capsys: Capture
) -> None:
    folder = make_run("mine")
    (folder.checkpoints_dir / "step-00000007" / "adapter.bin").write_bytes(b"y" * 2048)
    found = json.loads(printed(capsys, "runs", "show", str(folder.path), "--json"))
    assert found["checkpoints"][0]["problem"] == "adapter.bin has changed since it was saved"
    assert found["adapter"] is None
    assert found["info"]["job"]["name"] == "mine"
    assert found["last_train"]["nonfinite"] == ["loss"]
    assert found["last_eval"]["val_loss"] == 1.5


def test_show_ends_with_what_a_failed_run_printed(
    make_run: Callable[..., RunFolder], capsys: Capture
) -> None:
    folder = make_run("mine", state="failed", message="loss is not finite")
    folder.log_file.write_text("one\n\x1b[31mtwo\n")
    text = printed(capsys, "runs", "show", str(folder.path))
    assert text.endswith("last lines of engine.log\n  |  one\n  |  \\x1b[31mtwo\n")


def test_the_list_holds_other_tools_runs_and_can_be_filtered_and_sorted(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    make_run("ours", best_val_loss=1.25)
    where = tmp_path / "runs"
    for name, loss in (("low", 0.5), ("high", 2.5)):
        (where / f"{name}.jsonl").write_text(f'{{"step": 3, "loss": {loss}}}\n')

    def names(*arguments: str) -> list[str]:
        text = printed(capsys, "runs", "list", "--runs-dir", str(where), "--json", *arguments)
        return [item["name"] for item in json.loads(text)]

    assert sorted(names()) == ["high", "low", "ours"]
    assert names("--filter", "loss<2") == ["low"]
    assert names("--filter", "tool:json", "--sort", "loss") == ["low", "high"]
    assert names("--sort", "-loss") == ["high", "low", "ours"]  # what has none comes last
    assert names("--filter", "lora.rank=16") == ["ours"]
    assert names("--filter", "loss>99") == []
    text = printed(capsys, "runs", "list", "--runs-dir", str(where))
    assert "TOOL" in text and "JSON lines" in text and "tui-trainer" in text


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["list", "--filter", "los<2"], "--filter: there is no field 'los'; did you mean loss?"),
        (["list", "--filter", "loss<x"], "--filter: loss< needs a number, not 'x'"),
        (["list", "--filter", "lora.rnk=4"], "did you mean lora.rank?"),
        (["list", "--sort", "lss"], "--sort lss: there is no field 'lss'; did you mean loss?"),
        (["show", "nobody"], "no run 'nobody'"),
        (["show", "no/such"], "no/such does not exist"),
        (["diff", "mine"], "needs two or more runs"),
        (["diff", "mine", "nobody"], "no run 'nobody'"),
        (["export", "mine", "--metric", "los"], "has no metric 'los'; did you mean loss?"),
        (["export", "mine", "--format", "xml"], "'xml' is not one of"),
        (["export", "mine", "-o", "."], ". is a folder; give a file"),
    ],
)
def test_a_mistake_is_one_sentence(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture, arguments: list[str],
    messages: str,
) -> None:  # fmt: skip
    make_run("mine")
    assert main.main(["runs", "--runs-dir", str(tmp_path / "runs"), *arguments]) == 2
    captured = capsys.readouterr()
    assert messages in captured.err and captured.out == ""
    assert captured.err.count("\n") == 1


def test_show_and_export_take_another_tools_file(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "train.csv"
    file.write_text("epoch,loss,val_loss\n0,2.5,2.6\n1,1.5,1.75\n")
    found = json.loads(printed(capsys, "runs", "show", str(file), "--json"))
    assert found["tool"] == "Keras CSV" and found["loss"] == 1.5
    assert found["best_val_loss"] == 1.75 and "learning rate" in found["lacks"]
    text = printed(capsys, "runs", "show", str(file))
    assert "written by" in text and "not recorded" in text
    (tmp_path / "b.jsonl").write_text('{"step": 1, "loss": 1.0}\n')
    assert main.main(["runs", "show", str(tmp_path)]) == 2  # two runs: which one is not said
    assert "contains 2 runs; name one of them" in capsys.readouterr().err


def test_diff_shows_configuration_and_the_better_result(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    first, second = make_run("one", best_val_loss=1.5), make_run("two", best_val_loss=1.5)
    info = json.loads(second.info_file.read_text())
    info["job"]["lora"]["rank"] = 64
    second.info_file.write_text(json.dumps(info))
    with atomic.appending(second.metrics_file) as lines:
        lines.append(EvalRecord(step=9, epoch=0.6, val_loss=1.125, time=4.0))
    where = ["--runs-dir", str(tmp_path / "runs")]
    text = printed(capsys, "runs", "diff", "one", str(second.path), *where)
    reported = [" ".join(line.split()) for line in text.splitlines()]
    assert reported[0] == "one two" and "lora.rank 16 64" in reported
    assert "best val_loss 1.500 @ 7 1.125 @ 9 *" in reported
    found = json.loads(printed(capsys, "runs", "diff", "one", "two", "--json", *where))
    assert found["config"] == [{"key": "lora.rank", "values": [16, 64]}]
    best = {item["name"]: item["best"] for item in found["results"]}
    assert best["best val_loss"] == [1] and best["step"] == []
    assert [run["path"] for run in found["runs"]] == [str(first.path), str(second.path)]


def test_export_writes_every_row_exactly(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    folder = make_run("mine")
    with atomic.appending(folder.metrics_file) as lines:
        for step in range(9, 12):
            row = {"kind": "train", "step": step, "loss": 0.1 * step, "learning_rate": 1e-7 / 3}
            lines.append(row)
    where = ["--runs-dir", str(tmp_path / "runs")]
    rows = list(csv.DictReader(io.StringIO(printed(capsys, "runs", "export", "mine", *where))))
    assert [(row["kind"], row["step"]) for row in rows] == [
        ("train", "7"), ("eval", "7"), ("train", "9"), ("train", "10"), ("train", "11"),
    ]  # fmt: skip
    assert rows[0]["loss"] == "nan" and rows[0]["val_loss"] == "" and rows[1]["val_loss"] == "1.5"
    assert float(rows[2]["loss"]) == 0.1 * 9 and float(rows[4]["learning_rate"]) == 1e-7 / 3
    text = printed(
        capsys, "runs", "export", "mine", "--format", "jsonl", "--metric", "loss", *where
    )
    records = [json.loads(line) for line in text.splitlines()]
    assert [record["step"] for record in records] == [7, 9, 10, 11]
    assert records[0]["loss"] is None and records[0]["nonfinite"] == ["loss"]
    assert records[3]["loss"] == 0.1 * 11 and "learning_rate" not in records[3]


def test_export_to_a_file_is_private_and_leaves_nothing_half(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture
) -> None:
    make_run("mine")
    target = tmp_path / "out.jsonl"  # the name tells the format
    where = ["--runs-dir", str(tmp_path / "runs")]
    assert main.main(["runs", "export", "mine", "-o", str(target), *where]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "2 rows written" in captured.err
    assert json.loads(target.read_text().splitlines()[0])["kind"] == "train"
    assert target.stat().st_mode & 0o777 == 0o600
    lost = tmp_path / "no" / "out.csv"
    assert main.main(["runs", "export", "mine", "-o", str(lost), *where]) == 1
    assert "cannot be written: No such file" in capsys.readouterr().err
    assert not list(tmp_path.glob(".*tmp"))


def test_export_writes_to_a_device_or_pipe_and_through_a_link(
    make_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    """They are not replaced by a file: nobody's /dev/null becomes one."""
    make_run("mine")
    where = "--runs-dir", str(tmp_path / "runs")
    pipe, link, kept = tmp_path / "pipe", tmp_path / "link.csv", tmp_path / "kept.csv"
    os.mkfifo(pipe)
    link.symlink_to(kept)
    with ThreadPoolExecutor(1) as executor:
        received = executor.submit(pipe.read_text)
        assert main.main(["runs", "export", "mine", "-o", str(pipe), *where]) == 0
        assert received.result(30).startswith("kind,step,")
    assert pipe.is_fifo()
    assert main.main(["runs", "export", "mine", "-o", str(link), *where]) == 0
    assert link.is_symlink()
    assert kept.read_text() == received.result()


def test_export_of_more_rows_than_a_table_keeps_is_not_thinned(tmp_path: Path) -> None:
    count = MOST_ENTRIES + 1001
    file = tmp_path / "long.jsonl"
    file.write_text("".join(f'{{"step":{n},"loss":{n}.5}}\n' for n in range(1, count + 1)))
    found = rows_of(RunLocation(file, "jsonl", "long", "long"), ["loss"])
    assert len(found) == count and found.names == ("step", "loss")
    kinds, (steps, losses) = next(found.chunks())
    assert set(kinds) == {"train"} and steps[:2] == [1.0, 2.0] and losses[:2] == [1.5, 2.5]


def test_parquet_needs_pyarrow(
    make_run: Callable[..., RunFolder], tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = make_run("mine")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    target = str(tmp_path / "rows.parquet")
    assert main.main(["runs", "export", str(folder.path), "-o", target]) == 1
    assert "Parquet needs pyarrow; install it with" in capsys.readouterr().err
