"""Tokens as arrays, and the table of a part: in memory, in a file, and as an entry of the cache."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.engine.data.tokens import token_table
from tui_trainer.engine.data.tokens.token_arrays import Tokens, decode, pack

EXAMPLE = st.lists(st.tuples(st.integers(0, 2**31 - 2), st.integers(0, 1)), min_size=1, max_size=9)
PARTS = st.lists(st.lists(EXAMPLE, max_size=4), max_size=5)


def tokens_of(part: list[list[tuple[int, int]]]) -> Tokens:
    return Tokens(
        [[token for token, _ in example] for example in part],
        [[learned for _, learned in example] for example in part],
        list(range(len(part))),
        len(part) + 1,  # and one that is refused
        longer=1,
        refused=[(len(part), "why")],
        without_tools=[len(part)],
    )


@pytest.mark.parametrize("most", [0, 40, 1 << 20], ids=["file", "some in memory", "memory"])
@given(PARTS)
def test_a_table_has_the_tokens_of_its_parts(
    most: int, tmp_path_factory: pytest.TempPathFactory, parts: list[list[list[tuple[int, int]]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUI_TRAINER_HOME", str(tmp_path_factory.getbasetemp() / "tables"))
        patch.setattr(token_table, "MOST_IN_MEMORY", most)
        built = token_table.build(pack(tokens_of(part)) for part in parts)
        file = tmp_path_factory.getbasetemp() / "entry"
        file.write_bytes(b"head" + b"".join(built.chunks()) + b"tail")
        entry = file.open("rb")
        again = token_table.read_table(entry, 4, file.stat().st_size - 8)
    for table in (built, again):
        wanted = [(index, example) for index, part in enumerate(parts) for example in part]
        assert len(table) == len(wanted)
        for number, (_, example) in enumerate(wanted):
            ids, learned = decode(table.coded_of(number))
            assert list(zip(ids.tolist(), learned.tolist(), strict=True)) == example
        before = [0, *(len(part) + 1 for part in parts)]
        starts = [sum(before[: index + 1]) for index in range(len(parts))]
        assert table.rows.tolist() == [
            starts[index] + at for index, part in enumerate(parts) for at in range(len(part))
        ]
        assert table.learned.tolist() == [
            sum(learned for _, learned in example[1:]) for _, example in wanted
        ]
        assert (table.total, table.longer) == (sum(before), len(parts))
        last = [start + len(part) for start, part in zip(starts, parts, strict=True)]
        assert table.refused == [(row, "why") for row in last] and table.without_tools == last


@pytest.mark.parametrize("size", [0, 10, 60, 99])
def test_an_entry_of_another_size_is_no_table(tmp_path: Path, size: int) -> None:
    file = tmp_path / "entry"
    file.write_bytes(os.urandom(size))
    with file.open("rb") as entry, pytest.raises(ValueError, match=r"too short|another size"):
        token_table.read_table(entry, 0, size)
