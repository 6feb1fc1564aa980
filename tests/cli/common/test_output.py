"""Numbers, tables and text as the command line prints them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.cli.common import output


@given(st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4))
def test_a_table_has_a_line_per_row(rows: list[tuple[str, str]]) -> None:
    assert len(output.table(("A", "B"), rows).split("\n")) == len(rows) + 1


def test_columns_align_also_behind_wide_characters() -> None:
    lines = output.table(("NAME", "X"), [("寸法", "1"), ("abcdef", "2")]).split("\n")
    assert lines == ["NAME    X", "寸法    1", "abcdef  2"]
