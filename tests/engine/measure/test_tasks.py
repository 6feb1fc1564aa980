"""Tasks of lm-eval: what its results become, and a local task measured on the built-in base."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationProgress, TasksRequest
from tui_trainer.engine.measure.tasks import measure, results_of
from tui_trainer.evaluation import tasks

CHOICES = ["red", "blue", "green"]
TASK = """
task: colours
dataset_path: json
dataset_kwargs:
  data_files:
    test: {file}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: "{{{{choices}}}}"
doc_to_target: "{{{{answer}}}}"
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
"""


def sample(number: int, filtered: str = "none", **more: Any) -> dict[str, Any]:
    return {
        "doc_id": number,
        "doc": {"question": f"question {number}"},
        "target": 1,
        "arguments": [("prompt", " red"), ("prompt", " blue")],
        "filtered_resps": [(-2.0, False), (-3.0, False)],
        "filter": filtered,
        "metrics": ["acc"],
        "acc": 0.0,
    } | more


def test_metrics_and_their_errors_are_read_by_filter() -> None:
    found = results_of(
        "colours",
        {
            "results": {
                "colours": {
                    "alias": "colours",
                    "acc,none": 0.5,
                    "acc_stderr,none": 0.1,
                    "exact_match,strict": float("nan"),
                    "ter,strict": 3,
                    "ter_stderr,strict": "N/A",
                }
            },
            "higher_is_better": {"colours": {"acc": True, "ter": False}},
            "n-samples": {"colours": {"original": 40, "effective": 2}},
            "versions": {"colours": 1.0},
        },
    )
    assert [(one.task, one.rows, one.of, one.version) for one in found] == [
        ("colours", 2, 40, "1.0")
    ]
    metrics = found[0].metrics
    assert list(metrics) == ["acc", "ter,strict"]
    assert (metrics["acc"].value, metrics["acc"].stderr) == (0.5, 0.1)
    assert (metrics["ter,strict"].stderr, metrics["ter,strict"].higher_is_better) == (None, False)


def test_the_items_of_several_filters_are_one() -> None:
    samples = [sample(0), sample(0, "strict", acc=1.0), sample(1)]
    found = results_of("colours", {"results": {"colours": {}}, "samples": {"colours": samples}})
    first, second = found[0].items
    assert first.scores == {"acc": 0.0, "acc,strict": 1.0}
    assert (first.question, first.reference, first.answer) == ("question 0", "blue", "red")
    assert first.hash != second.hash


def test_a_generated_answer_is_shown_as_it_was_filtered() -> None:
    written = sample(0, target="Paris", arguments=[("ask", {"until": ["x"]})])
    written["filtered_resps"] = ["London"]
    found = results_of("t", {"results": {"t": {}}, "samples": {"t": [written]}})
    assert (found[0].items[0].reference, found[0].items[0].answer) == ("Paris", "London")


@pytest.fixture
def local(tmp_path: Path) -> TasksRequest:
    """A local task of two questions, for the built-in base."""
    pytest.importorskip("lm_eval")
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [("What colour is blood?", 0), ("What colour is grass?", 2)]
    file = folder / "colours.jsonl"
    file.write_text(
        "".join(
            json.dumps({"question": question, "choices": CHOICES, "answer": answer}) + "\n"
            for question, answer in rows
        )
    )
    (folder / "colours.yaml").write_text(TASK.format(file=file))
    return TasksRequest(
        model="builtin",
        adapter=None,
        tasks=["colours"],
        task_files=str(folder),
        journal=str(tmp_path / "journal.jsonl"),
    )


def test_a_local_task_is_measured_once(local: TasksRequest) -> None:
    seen: list[EvaluationProgress] = []
    measure(local, seen.append)
    (found,) = tasks.read(Path(local.journal))
    assert (found.task, found.rows, found.of) == ("colours", 2, 2)
    assert [item.reference for item in found.items] == ["red", "green"]
    right = [item.answer == item.reference for item in found.items]
    assert found.metrics["acc"].value == sum(right) / 2
    assert seen[-1] == EvaluationProgress(phase="colours", done=6, total=6)
    again: list[EvaluationProgress] = []
    measure(local, again.append)
    assert not again


def test_an_unknown_task_is_one_sentence_with_near_names(local: TasksRequest) -> None:
    import msgspec

    wrong = msgspec.structs.replace(local, tasks=["colour"])
    with pytest.raises(UserError, match="no task 'colour'; the nearest are colours"):
        measure(wrong, lambda _: None)
