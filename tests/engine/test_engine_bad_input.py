"""What a user may get wrong ends in one sentence, in the state and in the exit status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tui_trainer.store.runs import RunFolder

GOOD = {"question": "what?", "answer": "that"}

CASES: list[tuple[dict[str, Any], str]] = [
    ({"rows": [GOOD, {"question": "why?"}]}, "train.jsonl line 2: the field 'answer' is missing"),
    ({"rows": [{"text": " "}, {"text": ""}]}, "all 2 rows are empty"),
    ({"rows": [GOOD, GOOD]}, "at least two training rows that are not the same"),
    ({"task": "classification"}, "needs the fields text and label (or category)"),
    (
        {"task": "classification", "rows": [{"text": "a", "label": 1}, {"text": "b", "label": 1}]},
        "needs at least two labels",
    ),
    ({"rows": [{"a": 1}]}, "fields not recognised (a)"),
    (
        {"rows": [{"messages": [{"role": "user", "content": "hi"}]}]},
        "has no assistant turn",
    ),
    ({"rows": [{**GOOD, "weight": -1}]}, "weight -1 is not a number above 0"),
    ({"lora": {"rank": 33}}, "lora.rank = 33 is larger than the layer"),
    ({"lora": {"rank_pattern": {"q_proj": 40}}}, "lora.rank_pattern 'q_proj' = 40 is larger than"),
    ({"lora": {"rank_pattern": {"q_prj": 2}}}, "'q_prj' fits no layer that carries an adapter"),
    ({"lora": {"alpha_pattern": {"lm_head": 2}}}, "such layers end in: down_proj, gate_proj"),
    ({"lora": {"target_modules": ["no_such_proj"]}}, "no_such_proj"),
    (
        {"data": {"max_length": 1000}, "rows": [{"text": "x" * i} for i in range(900, 909)]},
        "reads at most 256",
    ),
    ({"data": {"max_length": 8}}, "raise it"),
    ({"model": "nobody/nothing-here"}, "model 'nobody/nothing-here' is no local folder"),
]


@pytest.mark.parametrize(("changes", "sentence"), CASES, ids=[case[1][:30] for case in CASES])
def test_one_clear_sentence(
    changes: dict[str, Any],
    sentence: str,
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
) -> None:
    folder = make_run(**changes)
    assert run_engine(folder) == 2
    state = folder.state()
    assert state is not None
    assert state.state == "failed"
    assert sentence in state.message
    assert "\n" not in state.message
    assert [event.message for event in folder.events() if event.kind == "error"] == [state.message]


def test_a_folder_that_is_no_run(
    tmp_path: Any, run_engine: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_engine(RunFolder(tmp_path)) == 2
    assert "is not a run folder" in capsys.readouterr().err
    assert run_engine(RunFolder(tmp_path / "absent")) == 2
    assert "is not a writable run folder" in capsys.readouterr().err
