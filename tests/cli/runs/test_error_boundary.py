"""One run with a fault takes no other along: the commands over a folder that holds one."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.watch import faults
from tests.watch.folders import make_run
from tui_trainer.cli import main

Capture = pytest.CaptureFixture[str]
EACH_FAULT = pytest.mark.parametrize("fault", faults.RUNS.values(), ids=faults.RUNS.keys())


def listed(root: Path, capsys: Capture, *more: str) -> list[dict[str, Any]]:
    assert main.main(["runs", "list", "--json", "--runs-dir", str(root), *more]) == 0
    found: list[dict[str, Any]] = json.loads(capsys.readouterr().out)
    return found


def bad_of(root: Path) -> Path:
    return next(path for path in sorted(root.iterdir()) if path.name.startswith("bad"))


@EACH_FAULT
def test_both_runs_are_listed(tmp_path: Path, capsys: Capture, fault: faults.Fault) -> None:
    faults.make_good(tmp_path)
    fault(tmp_path)
    rows = listed(tmp_path, capsys)
    (good,) = [row for row in rows if row["name"] == "good"]
    assert (good["step"], good["loss"], good["problem"]) == (5, 5.0, "")
    assert len(rows) == 2
    assert main.main(["runs", "list", "--runs-dir", str(tmp_path)]) == 0
    printed = capsys.readouterr()
    assert "good" in printed.out
    assert "\x1b" not in printed.out + printed.err
    assert "Traceback" not in printed.err
    assert listed(tmp_path, capsys, "--filter", "loss=5 good")
    assert listed(tmp_path, capsys, "--filter", "lora.rank>=1", "--sort", "-age")


@EACH_FAULT
def test_every_command_on_it_ends_in_a_sentence(
    tmp_path: Path, capsys: Capture, fault: faults.Fault
) -> None:
    faults.make_good(tmp_path)
    fault(tmp_path)
    bad = str(bad_of(tmp_path))
    at = ["--runs-dir", str(tmp_path)]
    for arguments in (
        ["show", bad], ["show", bad, "--json"], ["diff", "good", bad],
        ["diff", "good", bad, "--json"], ["export", bad], ["export", bad, "--format", "jsonl"],
        ["advise", bad], ["show", "good"], ["export", "good"],
    ):  # fmt: skip
        status = main.main(["runs", *arguments, *at])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err, arguments
        assert "unexpected" not in printed.err, arguments
        assert status == 0 or printed.err.startswith(("error: ", "on a way")), arguments
        if arguments[-1] == "--json" and status == 0:
            json.loads(printed.out)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("metrics are a pipe", "metrics.jsonl cannot be read: not a regular file"),
        ("metrics are a folder", "metrics.jsonl cannot be read: a folder, not a file"),
        ("deep run.json", "run.json cannot be read: nested too deeply"),
        ("run.json is not UTF-8", "run.json cannot be read: "),
        ("run.json is empty", "run.json cannot be read: not JSON"),
        ("state is a device", "state.json cannot be read: not a regular file"),
        ("deep state.json", "state.json cannot be read: nested too deeply"),
    ],
)
def test_the_row_shows_the_reason(tmp_path: Path, capsys: Capture, fault: str, reason: str) -> None:
    faults.make_good(tmp_path)
    faults.RUNS[fault](tmp_path)
    (row,) = [row for row in listed(tmp_path, capsys) if row["name"] != "good"]
    assert reason in row["problem"]
    main.main(["runs", "list", "--runs-dir", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "PROBLEM" in printed
    assert reason in printed
    main.main(["runs", "show", str(bad_of(tmp_path))])
    assert reason in capsys.readouterr().out


def test_a_metric_with_a_quote_is_read_like_any_other(tmp_path: Path, capsys: Capture) -> None:
    faults.RUNS["quote in a name"](tmp_path)
    main.main(["runs", "export", str(tmp_path / "bad"), "--metric", 'acc "top1"'])
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row['acc "top1"']) for row in rows] == [n / 400 for n in range(1, 401)]


def test_an_unforeseen_error_is_its_runs_reason_and_debug_shows_where(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults.make_good(tmp_path)
    faults.make_unreadable(tmp_path, monkeypatch)
    (row,) = [row for row in listed(tmp_path, capsys) if row["name"] == "bad"]
    assert row["problem"] == "cannot be read: KeyError: 'unforeseen'"
    for arguments in (["list"], ["show", "bad"], ["diff", "good", "bad"], ["export", "bad"]):
        main.main(["runs", *arguments, "--runs-dir", str(tmp_path)])
        printed = capsys.readouterr()
        assert "KeyError" in printed.out + printed.err
        assert "Traceback" not in printed.out + printed.err
    assert main.main(["runs", "list", "--runs-dir", str(tmp_path), "--debug"]) == 0
    assert "Traceback" in capsys.readouterr().err
    main.main(["runs", "list", "--runs-dir", str(tmp_path)])
    assert "Traceback" not in capsys.readouterr().err


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8)
    | st.integers(-(10**400), 10**400),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=3,
)  # fmt: skip
NAMES = st.text(st.characters(), max_size=12) | st.sampled_from(
    ["step", "loss", "time", "epoch", "kind", "lr", "val_loss", "learning_rate"]
)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=4), st.integers(0, 300))
def test_any_names_and_values_leave_both_runs_listed(
    tmp_path_factory: pytest.TempPathFactory,
    capsys: Capture,
    lines: list[dict[str, Any]],
    more: int,
) -> None:
    root = tmp_path_factory.mktemp("runs")
    faults.make_good(root)
    folder = make_run(root / "bad")
    with (folder / "metrics.jsonl").open("w", encoding="ascii") as file:
        for line in lines * (1 + more):
            file.write(json.dumps(line) + "\n")
    rows = listed(root, capsys)
    assert {row["name"] for row in rows} == {"good", "bad"}
    assert [row["step"] for row in rows if row["name"] == "good"] == [5]
    assert [row["problem"] for row in rows] == ["", ""]
    assert main.main(["runs", "show", str(folder), "--json"]) == 0
    json.loads(capsys.readouterr().out)
    assert main.main(["runs", "export", str(folder)]) == 0
    capsys.readouterr()
