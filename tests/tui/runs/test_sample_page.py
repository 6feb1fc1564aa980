"""The page with the answers to the sample prompts."""

from __future__ import annotations

from pathlib import Path

from textual.content import Content

from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.tui.runs.sample_page import samples
from tui_trainer.watch.runs.details.run_details import RunDetails
from tui_trainer.watch.runs.details.sample_answers import valid_samples
from tui_trainer.watch.snapshots import RunSummary, RunView

VIEW = RunView(RunSummary(Path("/runs/a"), "a", "alpha", "run", "completed"))


def details(*answers: str, prompt: str = "where is Paris?") -> RunDetails:
    records = [
        SampleRecord(
            step=10 * at, epoch=at, time=at, number=0, prompt=prompt, answer=answer, tokens=4,
            finish="length",
        )
        for at, answer in enumerate(answers)
    ]  # fmt: skip
    return RunDetails(VIEW, samples=valid_samples(records, ()))


def marked(content: Content, style: str) -> list[str]:
    """The texts with a style."""
    return [content.plain[s.start : s.end] for s in content.spans if style in str(s.style)]


def test_what_changed_is_marked_in_both_answers() -> None:
    content = samples(details("Paris is in Spain", "Paris is in France"), 100)
    assert marked(content, "underline") == ["France"]
    assert marked(content, "strike") == ["Spain"]


def test_single_characters_are_compared_where_words_have_no_spaces() -> None:
    content = samples(details("巴黎在西班牙", "巴黎在法国"), 100)
    assert "".join(marked(content, "underline")) == "法国"


def test_every_line_fits_and_line_breaks_are_kept() -> None:
    for width in (40, 73, 107):
        long = "a word " * 40
        lines = samples(details(f"one\n{long}", f"two\n\n{long}"), width).plain.split("\n")
        assert all(len(line) <= width for line in lines)
        assert not any("·" in line for line in lines)


def test_where_there_is_no_room_the_answers_stand_below_each_other() -> None:
    lines = samples(details("old answer", "new answer"), 40).plain.split("\n")
    assert lines[3:] == ["where is Paris?", "new answer", "4 tokens, cut", "before:", "old answer"]


def test_an_unchanged_answer_is_named_so() -> None:
    assert "4 tokens, cut, unchanged" in samples(details("same", "same"), 100).plain


def test_text_of_models_and_prompts_is_escaped() -> None:
    text = samples(details("a\x1b[2Jb", "[bold]x[/bold]\u202ey", prompt="\x07[red]"), 100).plain
    assert "a·[2Jb" in text and "[bold]x[/bold]·y" in text and "·[red]" in text


def test_without_answers_the_page_gives_the_reason() -> None:
    assert samples(RunDetails(VIEW), 80).plain.startswith("no sample prompts: a job with")
    foreign = RunView(RunSummary(Path("/x"), "x", "x", "csv", "unknown", tool="Keras CSV"))
    assert samples(RunDetails(foreign), 80).plain == (
        "no sample answers: Keras CSV does not record them"
    )
