"""The `golden` commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tui_trainer.cli import main
from tui_trainer.evaluation import golden

Capture = pytest.CaptureFixture[str]


def test_a_question_is_added_listed_and_checked(capsys: Capture) -> None:
    assert main.main(["golden", "add", "How high?", "It is 42 m high.", "--fact", "42 m"]) == 0
    assert main.main(["golden", "list"]) == 0
    assert "1     How high?  It is 42 m high.  42 m" in capsys.readouterr().out
    assert main.main(["golden", "list", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["path"] == str(golden.own_file())
    assert document["items"][0]["facts"] == ["42 m"]
    assert main.main(["golden", "check"]) == 0
    assert "1 item, no problems found" in capsys.readouterr().err


def test_check_names_each_problem_and_ends_with_1(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "set.jsonl"
    line = '{"question": "Where?", "answer": "Rome", "facts": ["Paris"]}\n'
    file.write_text(line * 2)
    assert main.main(["golden", "check", "--file", str(file)]) == 1
    printed = capsys.readouterr()
    assert "item 1" in printed.out
    assert "the same question as item 1" in printed.out
    assert "2 items, 3 problems found" in printed.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["add", " ", "x"], "the question of a golden item is empty"),
        (["add", "Where?", "Rome", "--fact", "Paris"], "lacks the key fact"),
        (["list"], "does not exist; add a question with: tui-trainer golden add"),
        (["check"], "does not exist"),
    ],
)
def test_what_is_refused_is_one_sentence(
    capsys: Capture, arguments: list[str], message: str
) -> None:
    assert main.main(["golden", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not golden.own_file().exists()
