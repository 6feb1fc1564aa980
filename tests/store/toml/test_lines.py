"""The line of a key in a TOML text: right, or none."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.store.toml.lines import line_of

TEXT = """\
# a comment with name = "x" and [data]
name = "a # no comment [x]" # name = 2

"quoted key".'dotted.one' = 1
spread.one = 1
spread.two = 2
long = \'\'\'
name = "inside"
[training]\'\'\'
text = \"\"\"a \\"\"\" b
max_steps = 3
\"\"\"\"
[training]
max_steps = 4
list = [ 1, "]", # ]
  [2, 3],
  { a = 1, b.c = { d = 2 } },
]
[ data . "train" ]
path = "x"
[[sources]]
path = "1"
[[sources]]
path = "2"
[sources.more]
key = 1979-05-27 07:32:00
[[sources.inner]]
key = 0
[[sources.inner]]
key = 1
[implied.table]
"""


@pytest.mark.parametrize(
    ("path", "line"),
    [
        (("name",), 2),
        (("quoted key", "dotted.one"), 4),
        (("spread", "two"), 6),
        (("spread",), None),  # two lines define it
        (("long",), 7),
        (("text",), 10),
        (("training",), 13),
        (("training", "max_steps"), 14),
        (("training", "list"), 15),
        (("training", "list", 1), 15),
        (("training", "list", 2), 16),
        (("training", "list", 2, 1), 16),
        (("training", "list", 3, "a"), 17),
        (("training", "list", 3, "b", "c", "d"), 17),
        (("training", "list", 4), None),
        (("data", "train"), 19),
        (("data", "train", "path"), 20),
        (("data",), None),
        (("sources",), 21),
        (("sources", 0, "path"), 22),
        (("sources", 1), 23),
        (("sources", 1, "path"), 24),
        (("sources", 1, "more", "key"), 26),
        (("sources", 1, "inner", 1, "key"), 30),
        (("implied",), None),
        (("implied", "table"), 31),
        (("absent",), None),
    ],
)
def test_lines(path: tuple[str | int, ...], line: int | None) -> None:
    assert tomllib.loads(TEXT)
    assert line_of(TEXT, path) == line
    assert line_of(TEXT.replace("\n", "\r\n"), path) == line


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, inner in value.items() for leaf in leaves(inner, (*path, key))]
    if isinstance(value, list):
        return [leaf for at, inner in enumerate(value) for leaf in leaves(inner, (*path, at))]
    return [(path, value)]


KEYS = st.text(min_size=1, max_size=5) | st.sampled_from(["a", "b-1", "1.5", "", '"', "'", "#"])
TABLES = st.dictionaries(
    KEYS,
    st.recursive(
        st.just(0),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


@given(TABLES, st.sampled_from(["", "#[x]\n", 'z9 = "[y]\\n"\n']))
def test_the_value_at_a_key_stands_on_its_line(table: dict[str, Any], before: str) -> None:
    """Numbered values in a text that another package writes: each is on the line found."""
    counted = iter(range(1000, 9999))

    def number(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: number(inner) for key, inner in value.items()}
        return [number(inner) for inner in value] if isinstance(value, list) else next(counted)

    text = before + tomlkit.dumps(number(table))
    lines = text.split("\n")
    for path, value in leaves(tomllib.loads(text)):
        if isinstance(value, int):
            line = line_of(text, path)
            assert line is not None and str(value) in lines[line - 1]


@given(st.text() | st.text("[]{}=\"'.\n#ab1, "))
def test_any_text_has_a_line_or_none(text: str) -> None:
    assert line_of(text, ("a",)) is None or "a" in text
