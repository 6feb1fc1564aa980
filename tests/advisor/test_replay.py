"""Replaying what was written, and `runs advise`."""

from __future__ import annotations

import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.advisor.stories import Row, descent, run
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.record_values import read_record
from tui_trainer.advisor.replay import from_columns, parse, replay, without_replaced
from tui_trainer.cli import main
from tui_trainer.contracts.job import DataSettings, Job, TrainingSettings
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

Capture = pytest.CaptureFixture[str]


def trouble(steps: int = 300) -> list[Row]:
    """A run that diverges at step 200."""
    return run(steps, loss=lambda s: descent(s) + 1.5 * (s >= 200))


def records(rows: list[Row]) -> list[TrainRecord | EvalRecord]:
    """The rows as the engine's own records, with an evaluation every 20 steps."""
    found: list[TrainRecord | EvalRecord] = []
    for row in rows:
        fields = {key: value for key, value in row.items() if key != "kind"}
        found.append(TrainRecord(epoch=0.0, tokens=8, examples=1, **fields))
        if row["step"] % 20 == 0:
            found.append(
                EvalRecord(step=row["step"], epoch=0.0, val_loss=row["loss"], time=row["time"])
            )
    return found


def lines(items: list[Any]) -> bytes:
    return b"".join(msgspec.json.encode(item) + b"\n" for item in items)


def call(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    status = main.main(list(arguments))
    printed = capsys.readouterr()
    return status, printed.out, printed.err


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """A run folder whose metrics diverge."""
    data = tmp_path / "data.jsonl"
    data.write_text("{}\n")
    training = TrainingSettings(max_steps=300, warmup_steps=20)
    job = Job(name="wild", data=DataSettings(train=str(data)), training=training)
    made = run_folder.create_run(tmp_path / "runs", job)
    made.metrics_file.write_bytes(lines(records(trouble())))
    return made


def test_a_replay_of_the_file_gives_exactly_the_live_reports(folder: RunFolder) -> None:
    info = folder.info()
    assert info is not None
    facts = facts_of(info.job, None)
    live = Advisor(facts=facts)
    reports = [advice for record in records(trouble()) for advice in live.observe(record)]
    rows, rejected = parse(folder.metrics_file.read_bytes())
    again = replay(rows, facts=facts)
    assert rejected == 0
    assert reports
    assert again.reports == reports
    assert again.advisor.state() == live.state()


def test_rows_that_a_resumed_run_wrote_again_count_once() -> None:
    rows = records(trouble(100))
    twice = [*rows[:84], *rows[63:]]  # stopped at step 80, resumed from the checkpoint of step 60
    assert [r.step for r in rows[63:64]] == [61]
    assert without_replaced([read_record(r) for r in twice]) == [read_record(r) for r in rows]


def test_a_resumed_run_with_its_state_reports_what_an_uninterrupted_one_does() -> None:
    rows = records(trouble())
    live = Advisor()
    for record in rows[:63]:
        live.observe(record)
    saved = json.loads(json.dumps(live.state()))
    for record in rows[63:84]:
        live.observe(record)  # lost in the crash
    resumed = Advisor()
    resumed.restore(saved)
    reports = [advice for record in rows[63:] for advice in resumed.observe(record)]
    assert reports == replay(map(read_record, rows)).reports


def test_bare_nan_torn_lines_and_blank_ones() -> None:
    data = b'{"step":1,"loss":NaN}\n\n{"step":2,"loss":Infinity}\n[1]\n{"step":3,"lo'
    rows, rejected = parse(data)
    assert (len(rows), rejected) == (2, 2)
    assert replay(rows).advice[0].kind == "non_finite"


def test_advise_prints_a_record_per_advice(folder: RunFolder, capsys: Capture) -> None:
    status, out, _ = call(capsys, "runs", "advise", str(folder.path), "--json")
    found = json.loads(out)
    assert status == 0
    assert {"step", "kind", "urgency", "suggested_lr", "reason"} <= set(found[0])
    kinds = {item["kind"]: item for item in found}
    assert 200 <= kinds["divergence"]["step"] <= 212
    assert len({item["id"] for item in found}) == len(found)


def test_advise_by_name_and_for_people(folder: RunFolder, capsys: Capture) -> None:
    where = str(folder.path.parent)
    status, out, _ = call(capsys, "runs", "advise", "wild", "--runs-dir", where)
    assert status == 0
    assert "divergence" in out and "SUGGESTED" in out
    status, out, _ = call(capsys, "runs", "advise", "wild", "--runs-dir", where, "--history")
    assert status == 0
    assert "raised" in out


def test_advise_on_another_tools_file_names_what_is_not_recorded(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(lines([{"_step": r["step"], "train/loss": r["loss"]} for r in trouble()]))
    status, out, err = call(capsys, "runs", "advise", str(file), "--json")
    assert status == 0
    assert [item["kind"] for item in json.loads(out) if item["urgency"] != "low"] == ["divergence"]
    assert "learning rate" in err and "gradient norm" in err


def test_without_advice_there_is_a_message_and_an_empty_list(
    tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(lines(run(200)))
    status, out, _ = call(capsys, "runs", "advise", str(file), "--json")
    assert (status, json.loads(out)) == (0, [])
    status, out, err = call(capsys, "runs", "advise", str(file))
    assert (status, out) == (0, "")
    assert "no advice for 200 rows" in err


@pytest.mark.parametrize("content", [b"", b"no json\n", b'{"step":1,"reward":2}\n', b"\xff\xfe"])
def test_a_file_without_a_loss_is_a_users_mistake(
    content: bytes, tmp_path: Path, capsys: Capture
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_bytes(content)
    status, out, err = call(capsys, "runs", "advise", str(file))
    assert (status, out) == (2, "")
    assert "no training loss" in err and "Traceback" not in err


def test_what_does_not_exist_is_a_users_mistake(tmp_path: Path, capsys: Capture) -> None:
    status, _, err = call(capsys, "runs", "advise", str(tmp_path / "nowhere.jsonl"))
    assert status == 2
    assert "nowhere.jsonl" in err


@pytest.mark.parametrize("name", ["gpt2_124m_adamw", "gpt2_124m_muon"])
def test_the_healthy_runs_of_others_draw_nothing_urgent(shared_data: Path, name: str) -> None:
    rows, rejected = parse((shared_data / "healthy_runs" / f"{name}.metrics.jsonl").read_bytes())
    found = replay(rows)
    assert rejected == 0
    assert [a for a in found.reports if a.urgency != "low"] == []
    assert len(found.advice) <= 10


def test_a_trainer_state_is_judged_by_its_history(tmp_path: Path, capsys: Capture) -> None:
    history = [{"step": r["step"], "loss": r["loss"], "epoch": 0.1} for r in trouble()]
    file = tmp_path / "trainer_state.json"
    file.write_text(json.dumps({"best_metric": None, "log_history": history}, indent=2))
    status, out, _ = call(capsys, "runs", "advise", str(file), "--json")
    assert status == 0
    assert "divergence" in {item["kind"] for item in json.loads(out)}


def test_columns_give_what_the_records_give() -> None:
    items = records(trouble())
    train = [item for item in items if isinstance(item, TrainRecord)]
    evals = [item for item in items if isinstance(item, EvalRecord)]
    names = ("step", "loss", "learning_rate", "gradient_norm", "step_time_ms", "time")
    columns = {name: [float(getattr(item, name)) for item in train] for name in names}
    others = {name: [float(getattr(item, name)) for item in evals] for name in ("step", "val_loss")}
    assert replay(from_columns(columns, others)).reports == replay(map(read_record, items)).reports


def test_columns_distinguish_a_missing_value_from_one_that_is_not_finite() -> None:
    lacking, broken = math.copysign(math.nan, -1.0), math.nan
    train = {
        "step": [1.0, 2.0, 3.0],
        "loss": [2.0, broken, 2.0],
        "gradient_norm": [1.0, broken, lacking],
    }
    found = list(from_columns(train, {"step": [2], "val_loss": [lacking]}))
    assert [item.nonfinite for item in found] == [(), ("loss",), (), ()]
    assert [item.gradient_norm for item in found] == [1.0, None, None, None]


def test_columns_in_any_order_are_read_by_step() -> None:
    """At one step training rows come first, and rows of one kind in their order in the table."""
    steps = [3.0, 1.0, math.nan, 2.0, 3.0, math.inf, 1.0]
    train = {"step": steps, "loss": [float(at) for at in range(7)]}
    evals = {"step": [3.0, 0.0, -math.inf, 1.0], "val_loss": [10.0, 11.0, 12.0, 13.0]}
    by_step = [(0, 11), (1, 1), (1, 6), (1, 13), (2, 3), (3, 0), (3, 4), (3, 10)]
    for made in (list, np.array):
        columns = [{name: made(values) for name, values in one.items()} for one in (train, evals)]
        found = [
            (row.step, row.val_loss if row.loss is None else row.loss)
            for row in from_columns(*columns)
        ]
        assert found == by_step


@pytest.mark.slow
def test_columns_are_merged_without_a_list_of_their_rows() -> None:
    steps = np.arange(1.0, 20_001)
    rows = from_columns({"step": steps, "loss": 1 / steps}, {"step": steps, "val_loss": 2 / steps})
    tracemalloc.start()
    count = sum(1 for _ in rows)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 40_000
    assert most < steps.nbytes


def test_a_gap_for_an_evaluation_is_no_hang() -> None:
    rows: list[Row] = []
    now = 0.0
    for step in range(1, 60):
        now += 1.0
        rows.append({"step": step, "loss": 2.0, "time": now})
        if step % 20 == 0:
            now += 300.0
            rows.append({"step": step, "eval_loss": 2.0, "time": now})
    assert "stalled" not in {advice.kind for advice in replay(rows).advice}
    late = [{**row, "time": row["time"] + 90.0 * (row["step"] > 50)} for row in rows]
    assert [(a.kind, a.step) for a in replay(late).advice] == [("stalled", 50)]


def test_a_state_that_was_saved_before_is_restored() -> None:
    """The keys that checkpoints hold, although fields have other names by now."""
    advisor = Advisor()
    for row in trouble(230):
        advisor.observe(row)
    state = advisor.state()
    assert {"coarse", "coarse_span", "coarse_sum", "coarse_count", "risen", "tiny"} <= state.keys()
    assert {"begun", "wobble", "norm_wobble"} <= state["reference"].keys()
    for kind in state["open"]:
        state["open"][kind] |= {"quiet": -7, "said_at": 3}
    again = Advisor()
    again.restore(state)
    assert again.open == advisor.open != []
    assert {one["quiet"] for one in again.state()["open"].values()} == {-7}
