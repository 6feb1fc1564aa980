"""The delimiter of a table is found in its header."""

from __future__ import annotations

import pytest

from tui_trainer.text.delimited import delimiter


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        ("a,b,c", ","),
        ("a;b", ";"),
        ("a\tb", "\t"),
        ("a|b|c", "|"),
        ("text", ","),
        ("", ","),
        ('"a,b,c";"d"', ";"),
        ("a,b|c", ","),
    ],
)
def test_delimiter(header: str, wanted: str) -> None:
    assert delimiter(header) == wanted
