"""The conversation on the screen: what is told becomes entries, entries become lines."""

from __future__ import annotations

import time

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.repl.measures import measure_text
from tui_trainer.text import formats
from tui_trainer.tui.chat import news as chat_news
from tui_trainer.tui.chat.event_text import live_text
from tui_trainer.tui.chat.loss_curve import LossCurve, curve_of
from tui_trainer.tui.chat.teaching_status import (
    blocks_of,
    feedback_facts_of,
    one_line,
    teaching_facts_of,
)
from tui_trainer.tui.chat.transcript import Transcript, TranscriptEntry
from tui_trainer.tui.chat.transcript_lines import column_widths, entry_lines


def plain(entry: TranscriptEntry, width: int) -> list[str]:
    return [line.plain for line in entry_lines(entry, width)]


def record(state: str = "queued", **changes: object) -> TrainingRecord:
    values: dict[str, object] = {"id": "t1", "created_at": 1.0, "examples": ["a"], "state": state}
    return TrainingRecord(**{**values, **changes})  # type: ignore[arg-type]


def test_tokens_grow_one_answer_which_is_replaced_when_whole() -> None:
    transcript = Transcript()
    transcript.queue("why?", remember=True)
    transcript.apply(chat_news.LineStarted("why?"))
    assert transcript.queued_entries == [] and transcript.history == ["why?"]
    for text in ("be", "cause"):
        transcript.apply(events.Token(text=text))
    assert [e.text for e in transcript.entries] == ["why?", "because"]
    assert transcript.entries[1].running
    transcript.apply(chat_news.TrainingProgressed(record()))  # another thread's news come behind it
    transcript.apply(events.Token(text=" of"))
    transcript.apply(events.Answered(query="why?", response="because of it", adapter=None))
    transcript.apply(chat_news.LineEnded("why?", True))
    assert [e.text for e in transcript.entries][1:] == [
        "because of it", "training t1 queued: 1 example",
    ]  # fmt: skip
    assert transcript.current_line is None and not transcript.entries[1].running


def test_the_start_of_a_failed_answer_is_kept() -> None:
    transcript = Transcript()
    transcript.apply(chat_news.LineStarted("why?"))
    transcript.apply(events.Token(text="be"))
    transcript.apply(events.SessionError(text="the chat process was ended by SIGKILL"))
    transcript.apply(chat_news.LineEnded("why?", False))
    assert [(e.kind, e.text, e.detail) for e in transcript.entries[1:]] == [
        ("answer", "be", "cut off"),
        ("problem", "the chat process was ended by SIGKILL", ""),
    ]


def test_a_question_closes_with_the_next_command_unless_it_stays() -> None:
    transcript = Transcript()
    transcript.apply(events.Flagged(found=["password"], question="q"))
    assert transcript.question is not None and transcript.question.yes == "/keep"
    transcript.apply(chat_news.LineStarted("else"))
    assert transcript.question is None
    transcript.apply(chat_news.TrainingProgressed(record("refused", message="kept 61 %")))
    assert transcript.question is not None and transcript.question.yes == "/override t1"
    transcript.apply(chat_news.LineStarted("else"))
    assert transcript.question is not None


def test_only_a_new_state_of_a_training_adds_an_entry() -> None:
    transcript = Transcript()
    for step in (1, 2, 3):
        transcript.apply(
            chat_news.TrainingProgressed(record("training", step=step), LossCurve((2.0, 1.0)))
        )
    assert len(transcript.entries) == 1 and transcript.curve == LossCurve((2.0, 1.0))
    assert transcript.current_training is not None and transcript.current_training.step == 3
    transcript.apply(chat_news.TrainingProgressed(record("live", adapter="taught-1")))
    assert transcript.current_training is None and transcript.curve is None
    assert transcript.last_result is not None


def test_a_training_that_starts_shows_how_long_it_takes() -> None:
    transcript = Transcript()
    planned = record("training", expected_seconds=150.0)
    transcript.apply(chat_news.TrainingProgressed(planned))
    assert transcript.entries[-1].text == "training t1 training: 1 example, takes about 2:30"
    facts = teaching_facts_of(transcript, "ctrl+o", "braille")
    assert facts.training.remaining == "about 2:30"
    running = record("training", expected_seconds=150.0, step=2)
    transcript.apply(chat_news.TrainingProgressed(running, LossCurve((2.0,), eta_seconds=40.0)))
    assert teaching_facts_of(transcript, "ctrl+o", "braille").training.remaining == "40 s"


def test_text_of_the_model_is_never_markup_and_never_steers_the_terminal() -> None:
    entry = TranscriptEntry("answer", "[red]no[/]\x1b[2J\n\ttwo\r\n")
    lines = plain(entry, 40)
    assert lines[0] == "  [red]no[/]·[2J" and lines[1].strip() == "two·"
    assert plain(TranscriptEntry("you", "\x07ring"), 20)[0].startswith("› ·ring")
    assert all("\x1b" not in line for line in plain(TranscriptEntry("problem", "\x1b]0;x\x07"), 30))


@pytest.mark.parametrize("width", [16, 30, 78])
def test_lines_never_exceed_the_width(width: int) -> None:
    rows = [["a-long-adapter-name", "1", "builtin", "x" * 60], ["b", "", "世界" * 9, "y"]]
    table = events.TextTable(title="t", headers=["NAME", "LIVE", "BASE", "WHAT"], rows=rows)
    facts = events.TextTable(title="f", headers=[], rows=[["label", "text " * 30]])
    entries = [
        TranscriptEntry("you", "question " * 20), TranscriptEntry("answer", "word" * 50, "detail"),
        TranscriptEntry("note", "n " * 80), TranscriptEntry("table", "t", table=table),
        TranscriptEntry("table", "f", table=facts),
    ]  # fmt: skip
    for entry in entries:
        for line in entry_lines(entry, width):
            assert line.cell_length <= width, (entry.kind, line.plain)


def test_columns_are_narrowed_widest_first() -> None:
    assert column_widths([["a" * 30, "bb"], ["c", "dddd"]], 20) == [14, 4]
    assert column_widths([["a", "bb"]], 20) == [1, 2]


def test_a_table_too_wide_for_columns_becomes_cards() -> None:
    headers = [f"HEAD{i}" for i in range(9)]
    table = events.TextTable(
        title="t", headers=headers, rows=[[f"some value {i}" for i in range(9)]]
    )
    lines = plain(TranscriptEntry("table", "t", table=table), 60)
    assert lines[1] == "  some value 0"
    assert "head1 some value 1  head2 some value 2" in lines[2]


def test_a_table_with_an_empty_value_keeps_its_label() -> None:
    table = events.TextTable(title="feedback 3", headers=[], rows=[["note", ""], ["state", "new"]])
    lines = entry_lines(TranscriptEntry("table", "", table=table), 40)
    assert [line.plain.rstrip() for line in lines] == ["  feedback 3", "  note", "  state  new"]


def test_texts_of_shares_and_active_adapters() -> None:
    assert formats.share(1.0) == "100 %" and formats.share(0.999) == "99.9 %"
    assert formats.share(None) == "–"
    assert live_text({}) == "the base model" and live_text({"a": 1.0}) == "a"
    assert live_text({"a": 0.7, "b": 0.3}) == "0.7 a + 0.3 b"
    before, after = Measures(recalled=0.0), Measures(recalled=1.0, recalled_count=10)
    assert measure_text(before, after, "recalled") == "0 % → 100 % of 10"
    assert measure_text(before, after, "kept") == "–"


def test_the_panel_shows_buffer_training_and_result() -> None:
    transcript = Transcript()
    transcript.apply(events.BufferStatus(count=7, threshold=10, weight=21, weight_threshold=42,
                            needs_correction=2))  # fmt: skip
    transcript.apply(
        chat_news.TrainingProgressed(
            record("live", id="t0", adapter="taught-1", ended_at=time.time())
        )
    )
    curve = LossCurve((3.0, 2.0, 1.0), 9.0, "paused")
    running = record("training", step=30, total_steps=60)
    transcript.apply(chat_news.TrainingProgressed(running, curve))
    transcript.apply(chat_news.TrainingProgressed(record("queued", id="t2")))
    text = blocks_of(teaching_facts_of(transcript, "ctrl+o", "braille"), 40).plain
    for expected in ("7 of 10 examples", "weight 21 of 42", "! 2 need a correction", "paused",
                  "step 30 / 60", "█▅▁", "remaining 9 s", "ctrl+o watch", "1 more queued",
                  "taught-1"):  # fmt: skip
        assert expected in text, expected
    line = one_line(teaching_facts_of(transcript, "ctrl+o", "braille"), 78)
    assert line.cell_length == 78 and "paused" in line.plain and "50 %" in line.plain
    assert feedback_facts_of(transcript).weight_share == 0.5


def test_a_curve_is_read_only_while_the_training_runs() -> None:
    assert curve_of(record("live", run_path="/nowhere")) is None
    assert curve_of(record("training", run_path="/nowhere")) == LossCurve()
