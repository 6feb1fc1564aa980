"""`data.test`: the saved adapter is measured on it once, at the end of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.measure import final_test
from tui_trainer.store.runs.run_folder import RunFolder

MakeRun = Callable[..., RunFolder]


def events(folder: RunFolder, kind: str) -> list[str]:
    return [event.message for event in folder.events() if event.kind == kind]


def test_the_saved_adapter_is_measured_at_the_end(
    make_run: MakeRun, run_engine: Callable[..., int], tmp_path: Path
) -> None:
    rows = [{"question": f"what is {i}?", "answer": f"the cat {i}"} for i in range(30, 33)]
    test = tmp_path / "test.jsonl"
    test.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trained = [{"question": f"what is {i}?", "answer": f"the cat {i} sat"} for i in range(20)]
    folder = make_run([*trained, *rows[:1]], data={"test": str(test)})
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None
    assert state.state == "completed"
    found: dict[str, Any] = json.loads((folder.evaluations_dir / "test.json").read_bytes())
    assert found["rows"] == 3
    assert found["adapter"] == str(folder.adapter_dir)
    assert found["metrics"]["loss"] > 0
    assert 0 <= found["metrics"]["token_f1"] <= 1
    assert len(found["items"]) == 3
    assert any(text.startswith("test data, 3 rows: loss ") for text in events(folder, "evaluation"))
    assert any(
        text.startswith("test data: 1 row is in the training data too")
        and text.endswith(": test.jsonl line 1")
        for text in events(folder, "warning")
    )


def test_a_classifier_is_measured_by_class(
    make_run: MakeRun, run_engine: Callable[..., int], tmp_path: Path
) -> None:
    rows = [{"text": f"{'ab'[i % 2]} {i}", "label": "ab"[i % 2]} for i in range(20)]
    test = tmp_path / "test.jsonl"
    test.write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows[:4], {"text": "x", "label": "c"}])
    )
    folder = make_run(rows, task="classification", data={"test": str(test)})
    assert run_engine(folder) == 0
    found = json.loads((folder.evaluations_dir / "test.json").read_bytes())
    assert found["labels"] == ["a", "b", "c"]
    assert sum(map(sum, found["confusion"])) == 5
    assert any("1 class that the model was not trained on" in w for w in events(folder, "warning"))


def test_test_data_that_cannot_be_measured_does_not_fail_the_run(
    make_run: MakeRun,
    run_engine: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise UserError("out of memory")

    monkeypatch.setattr(final_test, "measure", refuse)
    test = tmp_path / "test.jsonl"
    test.write_text('{"question": "a", "answer": "b"}\n')
    folder = make_run(data={"test": str(test)})
    assert run_engine(folder) == 0
    state = folder.state()
    assert state is not None
    assert state.state == "completed"
    warning = events(folder, "warning")[-1]
    assert warning.startswith("the test data is not measured: out of memory; measure it with: ")
