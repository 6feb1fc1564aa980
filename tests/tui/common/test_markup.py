"""Long paths on the screen: never cut through a part's name, and their end is always seen."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.content import Content

from tui_trainer.tui.common.markup import (
    beside,
    middle,
    short_path,
    shorten,
    truncated,
    unbroken,
    wrapped,
)
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.dashboard.events_log import EventLine, EventsLog
from tui_trainer.tui.dashboard.job_panel import JobLines, JobPanel
from tui_trainer.tui.runs.details_pages import fact

NAMES = st.lists(st.text("abc", min_size=1, max_size=12), min_size=1, max_size=25)


def test_a_path_that_fits_is_unchanged() -> None:
    assert shorten("/data/train.jsonl", 20) == "/data/train.jsonl"
    assert unbroken(Content("read /data/train.jsonl"), 17).plain == "read /data/train.jsonl"


@pytest.mark.parametrize(
    ("width", "short"),
    [
        (30, "/home/…/runs/2026/nowhere"),
        (24, "/home/…/2026/nowhere"),
        (16, "/home/…/nowhere"),
        (14, "…/2026/nowhere"),
        (12, "…/nowhere"),
        (6, "…where"),
        (1, "…"),
    ],
)
def test_a_path_is_shortened_in_its_middle(width: int, short: str) -> None:
    assert short_path("/home/somebody/experiments/runs/2026/nowhere", width) == short


def test_the_path_in_a_sentence_is_shortened_before_its_words() -> None:
    text = "cannot write /home/somebody/experiments/runs/nowhere: no space left"
    assert shorten(text, 50) == "cannot write /home/…/runs/nowhere: no space left"
    assert shorten("a sentence without any path", 10) == "a sentenc…"
    assert shorten("1,000 tok/s and more of it", 10) == "1,000…"


@pytest.mark.parametrize("width", range(12, 40))
def test_a_sentence_is_cut_between_words(width: int) -> None:
    text = "saving the checkpoint before step 1,420"
    for short in (shorten(text, width), truncated(Content(text), width).plain):
        assert len(short) <= width
        assert short == text or set(short.removesuffix("…").split()) <= set(text.split())


@given(NAMES, st.integers(0, 100))
def test_a_shortened_text_fits(names: list[str], width: int) -> None:
    path = "/" + "/".join(names)
    for text in (path, f"cannot read {path} and {path[1:]}: gone"):
        short = shorten(text, width)
        assert len(short) <= max(1, width)
        assert short == text or "…" in short
    assert width <= len(names[-1]) + 1 or short_path(path, width).endswith(f"/{names[-1]}")


def test_long_names_keep_their_ends() -> None:
    assert middle("translate-de-r32-000", 16) == "translat…r32-000"
    assert middle("short", 16) == "short" and middle("abcdef", 1) == "…"


def test_wide_characters_count_as_two_cells() -> None:
    assert shorten("学習率が高すぎます", 9) == "学習率が…"
    assert shorten("学習率 が高すぎます", 9) == "学習率…"
    assert short_path("/データ/実験/学習/訓練", 16) == "/データ/…/訓練"
    assert short_path("訓練データ", 6) == "…ータ"
    assert middle("訓練データ一", 9) == "訓練…タ一"


def test_an_end_is_measured_with_its_combining_signs() -> None:
    assert shorten("a❤\ufe0f", 2) == "a…" and short_path("a❤\ufe0f", 2) == "…"
    assert middle("ab❤\ufe0fcd❤\ufe0f", 4) == "ab❤…"


def test_a_text_beside_its_label() -> None:
    def lines(text: str, width: int) -> list[str]:
        return [line.plain for line in beside(Content("rate "), Content(text), width)]

    assert lines("1e-4, then 2e-4", 15) == ["rate 1e-4, then", "     2e-4"]
    assert lines("one\n\ntwo", 15) == ["rate one", "     ", "     two"]
    assert lines("", 15) == ["rate "] and lines("abcdef", 2) == ["rate abcd", "     ef"]


@given(st.text("ab/ 学\u0301\ufe0f❤", max_size=40), st.integers(1, 30))
def test_a_shortened_text_fits_in_cells(text: str, width: int) -> None:
    for short in (shorten(text, width), short_path(text, width), middle(text, width)):
        assert cell_len(short) <= width
        assert short == text or "…" in short


@given(NAMES, st.integers(13, 80))
def test_a_wrapped_path_is_parted_at_its_separators(names: list[str], width: int) -> None:
    path = "/" + "/".join(names)
    lines = [line.plain for line in wrapped(Content(f"{path} does not exist"), width)]
    assert all(len(line) <= width for line in lines)
    assert "".join(lines).replace(" ", "").startswith(path)  # nothing is left out
    assert all(any(name in line for line in lines) for name in names)


def test_a_name_longer_than_a_line_is_broken_between_its_words() -> None:
    name = "/data/llama-3-instruct-rank-16-alpha-32-seed-1"
    lines = [line.plain for line in wrapped(Content(name), 20)]
    assert lines == ["/data/llama-3-", "instruct-rank-16-", "alpha-32-seed-1"]


PATH = f"/home/somebody/{'experiments/' * 9}llama/adapter"


def test_panes_show_the_end_of_a_path() -> None:
    job = JobPanel().draw(JobLines((("train", PATH),)), 40, 10).plain
    assert job.splitlines()[-1].endswith("llama/adapter")
    entry = EventLine("12:00:00", "saved", "20", f"adapter written to {PATH}")
    assert EventsLog().draw((entry,), 70, 1).plain.endswith("llama/adapter")
    lines = fact("message", f"out of memory while reading {PATH}", 60).plain.splitlines()
    assert all(word in " ".join(lines) for word in ("memory", "reading", "adapter"))
    assert all(line.endswith("/") for line in lines[1:-1])


class Small(App[None]):
    """A terminal with a sentence and nothing else."""

    CSS = "Prose { height: auto; padding: 0 4; }"

    def compose(self) -> ComposeResult:
        yield WrappedText(f"{PATH} cannot be read")


async def test_prose_takes_the_lines_that_it_needs() -> None:
    app = Small()
    async with app.run_test(size=(60, 24)) as pilot:
        prose = app.query_one(WrappedText)
        for width in (60, 100, 40):
            await pilot.resize_terminal(width, 24)
            await pilot.pause()
            shown = [strip.text.strip() for strip in app.screen._compositor.render_strips()]
            shown = [line for line in shown if line]
            assert len(shown) == prose.size.height > 1
            assert shown[-1].endswith("adapter cannot be read")
            assert all(line.endswith("/") for line in shown[:-1])
