"""Results of lm-eval's tasks: the names, the report, and what is paired and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import TaskItem, TaskMetric, TaskResult, TasksRequest
from tui_trainer.evaluation import tasks
from tui_trainer.store import atomic


def result(
    scores: list[float], metric: str = "acc", *, items: bool = True, higher: bool = True
) -> TaskResult:
    return TaskResult(
        asked="colours",
        task="colours",
        rows=len(scores),
        of=100,
        metrics={
            metric: TaskMetric(value=sum(scores) / len(scores), stderr=0.1, higher_is_better=higher)
        },
        items=[
            TaskItem(
                where=f"colours {at}",
                hash=str(at),
                question="What colour is grass?",
                reference="green",
                answer="green" if score else "blue",
                scores={metric: score},
            )
            for at, score in enumerate(scores)
            if items
        ],
    )


def request_of(folder: Path, *results: TaskResult, **more: object) -> TasksRequest:
    journal = folder / "journal.jsonl"
    with atomic.appending(journal) as lines:
        lines.append_all(list(results))
    fields = {"model": "builtin", "adapter": None, "tasks": ["colours"], "journal": str(journal)}
    return TasksRequest(**(fields | more))  # type: ignore[arg-type]


def test_names_are_given_once_and_with_commas() -> None:
    assert tasks.names("arc_easy, my task ,arc_easy") == ["arc_easy", "my task"]
    with pytest.raises(UserError, match="--tasks names no task"):
        tasks.names(" , ")
    assert tasks.report_name(["arc_easy", "a/b"]) == "arc_easy-a-b"


def test_right_answers_are_compared_by_the_exact_test() -> None:
    before, after = result([1.0] * 8 + [0.0] * 2), result([0.0] * 8 + [1.0, 0.0])
    found = tasks.compare([before], [after]).tests["colours acc"]
    assert (found.test, found.lost, found.won) == ("exact McNemar", 8, 1)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)
    assert found.verdict == "worse"


def test_other_scores_are_compared_by_a_bootstrap_in_their_direction() -> None:
    before = result([0.5 + 0.01 * at for at in range(20)], "ter", higher=False)
    after = result([0.9 + 0.01 * at for at in range(20)], "ter", higher=False)
    found = tasks.compare([before], [after]).tests["colours ter"]
    assert (found.test, found.verdict) == ("paired bootstrap", "worse")


def test_only_the_items_that_both_were_asked_are_paired() -> None:
    compared = tasks.compare([result([1.0, 0.0, 1.0])], [result([1.0, 0.0])])
    assert compared.tests["colours acc"].items == 2


def test_a_metric_without_values_of_items_is_said_to_be_not_paired() -> None:
    compared = tasks.compare([result([1.0])], [result([1.0], items=False)])
    assert not compared.tests
    assert compared.unpaired["colours acc"].startswith("not paired: ")


def test_the_report_has_every_metric_and_item(tmp_path: Path) -> None:
    request = request_of(tmp_path, result([1.0, 0.0]))
    report = tasks.make("colours", "small", request)
    assert report.metrics == {"colours acc": 0.5}
    assert report.rows == 2
    assert [item.right for item in report.items] == [True, False]
    assert report.tasks[0].metrics["acc"].stderr == 0.1
    assert report.tasks[0].items == []


def test_the_journal_is_another_one_when_a_task_file_changes(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "colours.yaml").write_text("task: colours\n")
    request = request_of(tmp_path, task_files=str(tmp_path / "tasks"))
    first = tasks.file_of(request)
    assert tasks.file_of(request) == first
    (tmp_path / "tasks" / "colours.yaml").write_text("task: colours\noutput_type: x\n")
    assert tasks.file_of(request) != first
