"""How a session reads: what was said on standard output, words about it on standard error."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from tui_trainer.cli.common import output
from tui_trainer.cli.common.chat_printer import JsonPrinter, TextPrinter, buffer_line
from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.training import TrainingRecord

Capture = pytest.CaptureFixture[str]


def answered(text: str = "It is Paris", **changes: Any) -> events.Answered:
    return events.Answered(query="What?", response=text, adapter="mine", **changes)


def training(state: str, **changes: Any) -> events.TrainingStatus:
    values = {"id": "t1", "state": state, "created_at": 1.0, "examples": []}
    return events.TrainingStatus(record=msgspec.convert({**values, **changes}, TrainingRecord))


def test_an_answer_follows_its_question(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    show.echo("What?")
    for piece in ("It is", " Par", "is"):
        show(events.Token(text=piece))
    show(answered())
    assert capsys.readouterr() == ("> What?\nIt is Paris\n", "")


def test_a_terminal_shows_the_question_itself(capsys: Capture) -> None:
    show = TextPrinter(interactive=True)
    show.echo("What?")
    show(answered(cancelled=True))
    assert capsys.readouterr() == ("It is Paris\n", "the answer was cancelled\n")


def test_an_answer_shows_its_tokens_per_second(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    show(answered(tokens=61, seconds=1.2))
    assert capsys.readouterr() == ("It is Paris\n", "61 tokens, 50.8 tokens/s\n")


def test_messages_wait_until_the_answer_is_complete(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    show(events.Token(text="It is"))
    show(training("checking"))
    assert capsys.readouterr() == ("It is", "")
    show(events.SessionError(text="the chat process ended"))
    assert capsys.readouterr() == ("\n", "training t1 checking\nerror: the chat process ended\n")


def test_a_training_that_starts_says_how_long_it_takes(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    show(training("queued", examples=["a", "b"]))
    planned = {"examples": ["a", "b"], "expected_seconds": 150.0}
    show(training("training", **planned))
    show(training("training", **planned, step=1))
    show(training("training", id="t2", limit_seconds=60.0, **planned))
    assert capsys.readouterr().err.splitlines() == [
        "training t1 queued: 2 examples",
        "training t1 training: 2 examples, takes about 2:30",
        "training t2 training: 2 examples, takes about 2:30, time limit 1:00",
    ]


def test_messages_are_printed_above_the_input_line(capsys: Capture) -> None:
    show = TextPrinter(interactive=True, typed=lambda: "Wha")
    show.prompting = True
    show(training("live", message="recalled 100%"))
    # click leaves out what clears the line where there is no terminal.
    assert capsys.readouterr().err == "\rtraining t1 live: recalled 100%\n> Wha"


def test_what_comes_from_files_and_models_cannot_steer_the_terminal(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    show.echo("a\x1b[2J")
    show(events.Token(text="one\ntwo\x1b[2J"))
    show(answered())
    show(events.TextTable(title="t", headers=["A"], rows=[["x\x1b\ny"]]))
    show(events.TextTable(title="t", headers=[], rows=[["x\x1b", "y\n"]]))
    show(events.SessionNotice(text="n\x1b"))
    show(events.SessionError(text="p\r\n"))
    printed = capsys.readouterr()
    assert "\x1b" not in printed.out + printed.err
    assert "one\ntwo\\x1b[2J\n" in printed.out


def test_each_state_of_a_training_is_printed_once(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    for step in range(3):
        show(training("training", step=step))
    show(training("failed", message="the disk is full"))
    assert capsys.readouterr().err == (
        "training t1 training: 0 examples\ntraining t1 failed: the disk is full\n"
    )


def test_a_change_of_the_active_adapters_is_printed(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    live: dict[str, float]
    for live in ({}, {"a": 1.0}, {"a": 1.0}, {"a": 0.7, "b": 0.3}, {}):
        show(events.AdaptersActivated(adapters=live))
    assert capsys.readouterr().err.splitlines() == [
        "active: a",
        "active: a=0.7 b=0.3",
        "no adapter is active",
    ]


def test_ratings_read_as_sentences(capsys: Capture) -> None:
    show = TextPrinter(interactive=False)
    rated = events.Rated(
        example="x", number=3, rating="medium", weight=3.0, question="What?", taught=None
    )
    show(rated)
    show(events.NeedsCorrection(example="x", number=3, question="What?", answer="Rome"))
    show(msgspec.structs.replace(rated, taught="Paris", replaced=True))
    show(events.Flagged(found=["password"], question="What?"))
    show(events.Confirm(text="delete adapter a?"))
    show(events.Revision(question="What?", before="Rome", text="Paris"))
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "feedback 3 is medium (weight 3)",
        "it is taught only with a correction: /fix TEXT",
        "feedback 3 is now medium (weight 3), right answer: Paris",
        "Paris",
    ]
    assert "(password); /keep stores it anyway" in printed.err
    assert "delete adapter a? (/yes confirms)" in printed.err
    assert "/accept stores this" in printed.err


def test_how_far_the_buffer_is(capsys: Capture) -> None:
    buffer = events.BufferStatus(
        count=3, threshold=10, weight=7.0, weight_threshold=0.0, needs_correction=0
    )
    assert buffer_line(buffer) == "3 of 10 examples pending"
    more = msgspec.structs.replace(buffer, threshold=0, weight_threshold=20.0, needs_correction=2)
    assert buffer_line(more) == "3 examples pending, weight 7 of 20; 2 need a correction"
    one = msgspec.structs.replace(buffer, count=1, threshold=1, needs_correction=1)
    assert buffer_line(one) == "1 of 1 example pending; 1 needs a correction"
    show = TextPrinter(interactive=False)
    for _ in range(2):
        show(buffer)
    show(msgspec.structs.replace(buffer, count=0))
    assert capsys.readouterr().err == "3 of 10 examples pending\n"


def test_json_has_a_record_per_event(capsys: Capture) -> None:
    show = JsonPrinter()
    show.echo("What?")
    show(answered())
    show(training("live"))
    show(events.SessionError(text="no", command="/god"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(
        '{"kind":"answer","query":"What?","response":"It is Paris","adapter":"mine"'
    )
    assert [json.loads(line)["kind"] for line in lines] == ["answer", "training", "error"]


def test_a_closed_reader_is_recorded_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr(output, "data", refuse)
    for show in (TextPrinter(interactive=False), JsonPrinter()):
        show(answered())
        assert isinstance(show.output_error, BrokenPipeError)
