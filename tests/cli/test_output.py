"""Numbers, tables and text as the command line prints them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.cli import output


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (float("inf"), "–"),
        (0.4, "0:00"),
        (59.6, "1:00"),
        (724, "12:04"),
        (10_931, "3:02:11"),
        (93_600, "1 d 2:00:00"),
        (-3, "0:00"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert output.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        (float("nan"), "–"),
        (1.2839, "1.284"),
        (0.5, "0.5"),
        (18_402.4, "18,402"),
        (812, "812"),
        (0.00001234, "1.234e-05"),
    ],
)
def test_number(value: float | None, text: str) -> None:
    assert output.number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(2e-4, "2e-4"), (1.6e-4, "1.6e-4"), (1.0, "1e0"), (None, "–")]
)
def test_rate(value: float | None, text: str) -> None:
    assert output.rate(value) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(None, "–"), (512, "512 B"), (4_299_162, "4.1 MiB"), (2**41, "2.0 TiB")],
)
def test_size(amount: int | None, text: str) -> None:
    assert output.size(amount) == text


@given(st.text())
def test_escaped_text_cannot_steer_a_terminal(text: str) -> None:
    shown = output.escape(text)
    assert not any(unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") for c in shown)
    shown.encode("utf-8")


def test_escape_shows_what_was_there() -> None:
    assert output.escape("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert output.escape("Größe 寸法 …") == "Größe 寸法 …"


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_a_table_has_a_line_per_row(rows: list[tuple[str, str]]) -> None:
    assert len(output.table(("A", "B"), rows).split("\n")) == len(rows) + 1


def test_columns_align_also_behind_wide_characters() -> None:
    lines = output.table(("NAME", "X"), [("寸法", "1"), ("abcdef", "2")]).split("\n")
    assert lines == ["NAME    X", "寸法    1", "abcdef  2"]
