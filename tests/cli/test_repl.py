"""`tui-trainer repl` around a session that stands in for the real one."""

from __future__ import annotations

import _thread
import io
import sys
import threading
from collections.abc import Callable
from typing import Any

import click
import pytest

from tests.repl.conftest import Room
from tui_trainer.cli import main
from tui_trainer.cli import repl as command
from tui_trainer.contracts.chat import session as events

Capture = pytest.CaptureFixture[str]
Run = Callable[..., int]


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Room:
    """The room whose session the command opens."""
    room = Room()

    def open_session(model: str, *, emit: Callable[[events.Event], None], **_: Any) -> object:
        assert model == "builtin"
        room.session._context.emit = emit
        return room.session

    monkeypatch.setattr(command, "open_session", open_session)
    return room


@pytest.fixture
def pipe(opened: Room, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with lines on standard input."""

    def run(text: str | bytes, *arguments: str) -> int:
        data = text.encode() if isinstance(text, str) else text
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data), encoding="utf-8"))
        return main.main(["repl", *arguments])

    return run


def test_a_pipe_gives_a_transcript(pipe: Run, capsys: Capture, opened: Room) -> None:
    assert pipe("What?\r\n/fix Paris\n\n/quit\nnever asked\n") == 0
    assert capsys.readouterr().out.splitlines() == [
        "> What?",
        "WHAT?",
        "> /fix Paris",
        "feedback 1 is medium (weight 3), right answer: Paris",
        "> ",
        "> /quit",
    ]
    assert (opened.trainer.closed, opened.client.closed) == (1, 1)
    assert opened.session.history() == [], "a pipe is not what the user typed"


def test_a_failed_command_sets_the_exit_status(pipe: Run, capsys: Capture) -> None:
    assert pipe("/god\nWhat?\n") == 1
    printed = capsys.readouterr()
    assert "did you mean /good?" in printed.err
    assert printed.out.endswith("WHAT?\n"), "the lines after it are done all the same"


def test_the_end_of_input_ends_it(pipe: Run) -> None:
    assert pipe("What?") == 0
    assert pipe("") == 0


def test_bytes_that_are_no_text_are_asked_as_such(pipe: Run, opened: Room) -> None:
    assert pipe(b"caf\xe9?\n") == 0
    assert opened.client.shown[-1][-1].content == "caf\ufffd?"


def test_json(pipe: Run, capsys: Capture) -> None:
    assert pipe("What?\n", "--json") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(
        '{"kind":"answer","query":"What?","response":"WHAT?","adapter":null'
    )


def test_an_adapter_can_be_named(pipe: Run, opened: Room, capsys: Capture) -> None:
    opened.add_adapter("mine")
    assert pipe("What?\n", "--adapter", "mine") == 0
    assert opened.client.live == {"mine": 1.0}
    assert pipe("What?\n", "--adapter", "nobody") == 2
    assert "there is no adapter 'nobody'" in capsys.readouterr().err


def test_an_unfinished_training_is_mentioned(pipe: Run, capsys: Capture) -> None:
    assert pipe("What?\n/good\n/train\n") == 0
    assert "the next session resumes it" in capsys.readouterr().err


def test_an_editor_needs_a_terminal(pipe: Run, capsys: Capture) -> None:
    assert pipe("What?\n/edit\n") == 1
    assert "the editor needs a terminal; use /fix TEXT" in capsys.readouterr().err


@pytest.fixture
def type_in(opened: Room, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with lines typed on a terminal; an exception stands for a key."""

    def run(*lines: str | type[BaseException]) -> int:
        left = list(lines)

        def type_line(prompt: str) -> str:
            assert prompt == "> "
            line = left.pop(0) if left else EOFError
            if isinstance(line, str):
                return line
            raise line

        monkeypatch.setattr(command, "_is_terminal", lambda: True)
        monkeypatch.setattr("builtins.input", type_line)
        return main.main(["repl"])

    return run


def test_a_terminal_session_ignores_failed_commands(
    type_in: Run, capsys: Capture, opened: Room
) -> None:
    assert type_in("/god", KeyboardInterrupt, "What?") == 0
    assert capsys.readouterr().out == "WHAT?\n"
    assert opened.session.history() == ["/god", "What?"]


def test_an_editor_is_opened_on_a_terminal(
    type_in: Run, opened: Room, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    texts = iter([None, "WHAT?\n", "Paris\n"])

    def edit(text: str, **_: object) -> str | None:
        assert text == "WHAT?"
        return next(texts)

    monkeypatch.setattr(click, "edit", edit)
    assert type_in("What?", "/edit", "/edit", "/edit") == 0
    assert capsys.readouterr().err.count("nothing was changed") == 2
    assert opened.feedback.pending()[0].right_answer == "Paris"


def test_ctrl_c_cancels_and_a_second_one_ends() -> None:
    cancelled, begun = threading.Event(), threading.Event()

    def answer() -> bool:
        begun.set()
        return cancelled.wait(20)

    def interrupt() -> None:
        begun.wait(20)
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    assert command._in_background(answer, cancelled.set)
    cancelled.clear()
    begun.clear()
    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        command._in_background(lambda: answer() and False, _thread.interrupt_main)
    cancelled.set()


def test_an_error_in_the_background_is_raised(pipe: Run, capsys: Capture, opened: Room) -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    opened.client.during = fail
    assert pipe("What?\n") == 1
    assert "unexpected RuntimeError: boom" in capsys.readouterr().err
    assert opened.client.closed == 1
