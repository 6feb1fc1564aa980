"""Settings that cannot work end the preparation before anything is loaded; `data.json` and the log
name the rows that are left out, and too many of them stop a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.data_report import (
    DataReport,
    LeftOutRows,
    PartLeftOut,
    PartReport,
    TooManyLeftOut,
)
from tui_trainer.engine.records import data_report
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.store.runs.run_folder import RunFolder


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("data", {"retain": "train.jsonl", "retain_per_step": 2}),
        ("training", {"stop_when_learned": 2}),
    ],
)
def test_what_one_process_must_do_is_refused_however_many_were_started(
    make_run: Callable[..., RunFolder], tmp_path: Path, section: str, changes: dict[str, object]
) -> None:
    """The job says one process, and torchrun has started two."""
    folder = make_run(**{section: changes})
    info = folder.info()
    assert info is not None
    report = RunReporter(folder)
    data_report.report_findings(report, info.job, 1, resumed=False)
    with pytest.raises(UserError, match=r"needs training.processes = 1, as .* in one process"):
        data_report.report_findings(report, info.job, 2, resumed=False)
    report.close()


def test_data_json_the_log_and_resume(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], tmp_path: Path
) -> None:
    """All parts are counted; a run whose files are the same but read otherwise is refused."""
    made = [{"prompt": f"what is {i}?", "completion": f"the cat {i}", "id": i} for i in range(12)]
    held = tmp_path / "held.jsonl"
    held.write_text(
        "".join(
            json.dumps({"question": "new?", "answer": f"yes {i}", "label": i != 2}) + "\n"
            for i in range(4)
        )
    )
    folder = make_run(
        [*made, {**made[0], "completion": "a dog", "label": False}],
        training={"max_steps": 2, "eval_every": 0, "checkpoint_every": 0},
        data={"val_split": None, "validation": str(held), "allow_dropped": 0.25},
    )
    assert run_engine(folder) == 0
    report = folder.data()
    assert report is not None
    assert (report.train.rows, report.train.examples) == (13, 12)
    assert report.train.left_out[0].where == ["train.jsonl line 13"]
    assert (report.validation.rows, report.validation.examples) == (4, 3)
    warnings = [event.message for event in folder.events() if event.kind == "warning"]
    for wanted in (
        "1 training row left out: marked as a wrong answer by 'label' (train.jsonl line 13)",
        "1 validation row left out: marked as a wrong answer by 'label' (held.jsonl line 3)",
    ):
        assert wanted in warnings
    (event,) = [event for event in folder.events() if event.kind == "data"]
    assert "training columns not used: id" in event.message
    other = DataReport(train=PartReport(examples=13), validation=PartReport(), replay=PartReport())
    folder.data_file.write_bytes(json.dumps({**_plain(other), "fingerprint": "other"}).encode())
    assert run_engine(folder, "--from", "2") == 2
    refusal = folder.events()[-1].message
    assert "the data files are unchanged since the run started" in refusal
    assert "it had 13 training" in refusal


def test_too_many_rows_left_out_are_refused_unless_the_job_allows_it(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int]
) -> None:
    """The share that the message proposes is enough, and a resume is not asked again."""
    good = [{"prompt": f"what is {i}?", "completion": f"the cat {i}"} for i in range(71)]
    rows = [*good, *({"prompt": f"and {i}?"} for i in range(29))]
    length = {"training": {"max_steps": 2, "eval_every": 0, "checkpoint_every": 1}}
    refused = make_run(rows, **length, data={"val_split": None, "validation": None})
    assert run_engine(refused) == 2
    (refusal,) = [event.message for event in refused.events() if event.kind == "error"]
    assert refusal == (
        "29 of 100 training rows (29 %) would be left out: 29 × no answer field beside 'prompt' "
        "(train.jsonl line 72, train.jsonl line 73, train.jsonl line 74, …); mend them, or allow "
        "it with data.allow_dropped = 0.29 (--set data.allow_dropped=0.29)"
    )
    part = {"val_split": None, "validation": None, "allow_dropped": 0.29}
    allowed = make_run(rows, **length, data=part)
    assert run_engine(allowed) == 0
    values = json.loads(allowed.info_file.read_bytes())
    values["job"]["data"]["allow_dropped"] = 0.0
    allowed.info_file.write_text(json.dumps(values))
    assert run_engine(allowed, "--from", "1") == 0


def test_the_value_in_a_refusal_is_enough_for_all_parts(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int], tmp_path: Path
) -> None:
    """Both parts are named with all their counts; a run that is started again is refused alike."""
    good = [{"prompt": f"what is {i}?", "completion": f"the cat {i}"} for i in range(20)]
    held = tmp_path / "held.jsonl"
    held.write_text(
        "".join(json.dumps({"prompt": f"new {i}?"} | ({"completion": "a"} if i else {})) + "\n"
                for i in range(4))
    )  # fmt: skip
    rows = [*good, *({"prompt": f"and {i}?"} for i in range(5))]
    data = {"val_split": None, "validation": str(held)}
    refused = make_run(rows, data=data)
    for _ in range(2):  # the second time, the engine finds a failed run
        assert run_engine(refused) == 2
        (event, *_) = [event for event in refused.events()[::-1] if event.kind == "error"]
        found = msgspec.convert(event.detail["left_out"], TooManyLeftOut)
        assert found.allow_dropped == 0.25
        assert found.summary() == (
            "5 of 25 training rows (20 %) would be left out: 5 × no answer field beside 'prompt'; "
            "1 of 4 validation rows (25 %) would be left out: 1 × no answer field beside 'prompt'"
        )
    steps = {"max_steps": 1, "eval_every": 0, "checkpoint_every": 0}
    allowed = make_run(rows, data=data | {"allow_dropped": found.allow_dropped}, training=steps)
    assert run_engine(allowed) == 0


def test_a_refusal_counts_rows_of_reasons_that_it_does_not_name() -> None:
    part = PartLeftOut(
        part="training", rows=20_000, left_out=9, reasons=[LeftOutRows(reason="empty", rows=7)]
    )
    assert part.text(LeftOutRows.text) == (
        "9 of 20,000 training rows (0.04 %) would be left out: 7 × empty; 2 × other reasons"
    )


def _plain(report: DataReport) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return plain
