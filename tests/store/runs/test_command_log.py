"""Lines of `control.jsonl` that are no commands take no others along."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.watch.faults import deep_line
from tui_trainer.store.runs.command_arguments import shown, usable_rate
from tui_trainer.store.runs.command_log import CommandLog
from tui_trainer.store.runs.run_folder import RunFolder

GOOD = b'{"id": "good", "time": 1, "command": "pause"}\n'
BAD = {
    "nested": deep_line(command="pause"),
    "not UTF-8": b'{"id": "\xff", "time": 1, "command": "pause"}\n',
    "no JSON": b"pause\n",
    "another type": b"[1, 2]\n",
    "half a line": b'{"id": "a", "ti\n',
    "no id": b'{"time": 1, "command": "pause"}\n',
    "digits": b'{"time": ' + b"9" * 5_000 + b', "command": "pause"}\n',
    "surrogate": b'{"time": 1, "command": "\\ud800"}\n',
}


@pytest.mark.parametrize("line", BAD.values(), ids=BAD.keys())
def test_a_bad_line_is_named_and_the_next_command_counts(tmp_path: Path, line: bytes) -> None:
    (tmp_path / "control.jsonl").write_bytes(line + b"\n" + GOOD)
    inbox = CommandLog(RunFolder(tmp_path))
    assert [command.id for command in inbox.read()] == ["good"]
    (bad,) = inbox.take_bad()
    assert bad.number == 1
    assert "line 1 is not a command" in bad.message
    assert "\n" not in bad.message
    assert inbox.take_bad() == []


@pytest.mark.parametrize(
    "more", [{"command": "fly"}, {"arguments": 5}, {"time": "now"}, {"command": 7}]
)
def test_a_bad_line_that_names_itself_can_be_answered(
    tmp_path: Path, more: dict[str, object]
) -> None:
    line = {"id": "mine", "time": 1, "command": "pause"} | more
    (tmp_path / "control.jsonl").write_text(json.dumps(line) + "\n")
    inbox = CommandLog(RunFolder(tmp_path))
    assert inbox.read() == []
    assert [bad.id for bad in inbox.take_bad()] == ["mine"]


def test_thousands_of_bad_lines_are_few_reports(tmp_path: Path) -> None:
    (tmp_path / "control.jsonl").write_bytes(b"x\n" * 5_000 + GOOD)
    inbox = CommandLog(RunFolder(tmp_path))
    assert [command.id for command in inbox.read()] == ["good"]
    found = inbox.take_bad()
    assert len(found) < 50
    assert len(found) + sum(bad.more for bad in found) == 5_000
    assert found[-1].number == 5_000


def test_a_line_that_is_too_long_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "control.jsonl"
    file.write_bytes(b"x" * (3 * 1024 * 1024))
    inbox = CommandLog(RunFolder(tmp_path))
    assert inbox.read() == []
    with file.open("ab") as stream:
        stream.write(b"x\n" + GOOD)
    assert [command.id for command in inbox.read()] == ["good"]
    (bad,) = inbox.take_bad()
    assert "longer than" in bad.message


def test_a_pipe_in_its_place_is_reported_once_and_waited_for_never(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "control.jsonl")
    inbox = CommandLog(RunFolder(tmp_path))
    assert inbox.read() == inbox.read() == []
    (bad,) = inbox.take_bad()
    assert "cannot be read (not a regular file)" in bad.message


def test_events_with_bad_lines_do_not_keep_a_run_from_its_commands(tmp_path: Path) -> None:
    event = b'{"time": 1, "step": 1, "kind": "command", "id": "old"}\n'
    (tmp_path / "events.jsonl").write_bytes(deep_line() + b'{"kind": "\xff"}\n' + event)
    old = GOOD.replace(b"good", b"old")
    (tmp_path / "control.jsonl").write_bytes(old + GOOD)
    assert [command.id for command in CommandLog(RunFolder(tmp_path)).lapsed] == ["good"]


@pytest.mark.parametrize("value", [None, True, "1e-4", 0, -1, [1e-4], 10**400, float("nan")])
def test_what_is_no_learning_rate(value: object) -> None:
    assert usable_rate(value) is None
    assert len(shown(value)) < 100


def test_an_argument_is_quoted_on_one_short_line() -> None:
    assert shown(10**5_000) == "<int>"
    assert "\n" not in shown("a\nb\x1b[31m")
    assert len(shown("x" * 10_000)) <= 60
    assert usable_rate(1e-4) == 1e-4
