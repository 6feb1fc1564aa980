"""The benchmark's own parts, over rows made up here; its trainings take an hour and run by hand."""

from __future__ import annotations

import json
import math
import typing
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.advisor import judge, rows, rules_as_written
from tests.benchmarks.advisor.cases import Fault, all_cases
from tui_trainer.contracts.advice import AdviceKind


def test_the_recipe_is_as_large_as_promised_and_its_sets_share_no_seed() -> None:
    cases = all_cases()
    assert len({case.name for case in cases}) == len(cases)
    assert sum(case.fault is None for case in cases) >= 30
    assert sum(case.fault is not None for case in cases) >= 60
    assert len({case.seed for case in cases}) == len(cases)
    kinds = set(typing.get_args(AdviceKind))
    assert all(set(case.fault.right) <= kinds for case in cases if case.fault)
    assert all(case.steps > case.fault.onset + case.fault.within for case in cases if case.fault)


@pytest.mark.parametrize("kind", ["sums", "words", "facts", "garbage", "island"])
def test_rows_are_the_same_for_the_same_seed(kind: str) -> None:
    assert rows.rows(kind, 20, 3) == rows.rows(kind, 20, 3)
    shuffled, plain = rows.rows(f"shuffled-{kind}", 20, 3), rows.rows(kind, 20, 3)
    assert sorted(r["answer"] for r in shuffled) == sorted(r["answer"] for r in plain)
    assert [r["question"] for r in shuffled] == [r["question"] for r in plain]
    assert len({r["question"] for r in rows.rows(f"repeated-{kind}", 60, 3)}) <= 12


def test_the_first_rules_alarm_on_a_plain_healthy_descent() -> None:
    steps = np.arange(400)
    losses, norms = 1 + 3 * np.exp(-steps / 60.0), np.ones(400)
    kinds = {kind for _, kind in rules_as_written.alarms(losses, norms)}
    assert kinds == {"oscillation", "plateau"}
    exploded = np.where(steps > 200, 20.0, 1.0)
    assert "gradient_explosion" in {k for _, k in rules_as_written.alarms(losses, exploded)}


def test_the_judge_counts_what_was_reported_before_and_after_the_onset() -> None:
    case = next(case for case in all_cases() if case.fault is not None and case.fault.onset > 50)
    fault = case.fault
    assert fault is not None
    right = fault.right[0]
    messages = [(10, right), (fault.onset + 60, right), (fault.onset + 5, right)]
    verdict = judge._verdict(case, messages)
    assert verdict.false_alarms == [(10, right)]
    assert verdict.found == fault.onset + 5
    assert verdict.other == [(fault.onset + 60, right)]
    assert judge._verdict(case, [(fault.onset + 5, "memory")]).found is None


def test_an_alarm_that_was_on_before_the_onset_is_no_finding() -> None:
    made = [{"step": s, "loss": 2 + math.sin(s), "gradient_norm": 1.0} for s in range(1, 300)]
    fault = Fault(cause="rate too high", onset=200, right=("oscillation",))
    assert not [k for s, k in judge._as_written(made, fault) if s >= 200 and k == "oscillation"]


@pytest.mark.slow
def test_the_table_over_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = next(case for case in all_cases() if case.fault is None)
    made = [{"kind": "train", "step": s, "loss": 1 + 3 * math.exp(-s / 60)} for s in range(1, 300)]
    text = "".join(json.dumps(row) + "\n" for row in made)
    (tmp_path / f"{case.name}.jsonl").write_text(text)
    judge.print_table(tmp_path, "", case.group, True)
    printed = capsys.readouterr().out
    assert f"{case.name}: silent" in printed
    assert "| healthy, dev: false alarms per 20,000 steps | 1 | 0.0 (0 in" in printed
