"""`tui-trainer feedback export`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tui_trainer.cli import main
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.store.feedback.feedback_store import FeedbackStore


def test_feedback_is_written_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FeedbackStore().add(
        RatedExample(
            id="",
            time=0.0,
            turns=[Turn("user", "Who?")],
            answer="Bob",
            rating="critical",
            correction="Ana",
        )
    )
    file = tmp_path / "pairs.jsonl"
    assert main.main(["feedback", "export", str(file), "--format", "dpo", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert (printed["rows"], printed["format"], printed["file"]) == (1, "dpo", str(file))
    assert json.loads(file.read_text())["chosen"] == [{"role": "assistant", "content": "Ana"}]

    assert main.main(["feedback", "export", str(file)]) == 2
    assert "already exists" in capsys.readouterr().err


def test_without_feedback_it_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["feedback", "export", str(tmp_path / "rows.jsonl")]) == 2
    assert "rate an answer with /good" in capsys.readouterr().err
