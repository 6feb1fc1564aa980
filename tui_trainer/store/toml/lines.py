"""The line on which each key of a TOML text stands, which `tomllib` does not report."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache

Path = tuple[str | int, ...]  # keys, and positions in arrays from 0

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}\n#]+")
_SPACE = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
# A quoted text; in those of several lines, up to two quotation marks more belong to the text.
_QUOTED = re.compile(
    r'"""(?:[^\\"]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^\\"\n]|\\.)*"'
    r"|'[^'\n]*'",
    re.DOTALL,
)


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line, from 1, on which the key at `path` is set in a valid TOML text.

    For a table, the line of its header. None where the key is not in the text, or where several
    lines define it together.
    """
    return _lines(text).get(tuple(path))


@lru_cache(maxsize=2)
def _lines(text: str) -> dict[Path, int]:
    try:
        return _Scanner(text).lines()
    except (ValueError, IndexError, RecursionError):  # not valid TOML
        return {}


class _Scanner:
    """Reads a TOML text once and records where its keys stand."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._counted = (0, 1)  # a position in the text, and its line
        self._lines: dict[Path, int] = {}
        self._arrays: dict[Path, int] = {}  # elements of each array of tables so far

    def lines(self) -> dict[Path, int]:
        """The line of every key and table."""
        table: Path = ()
        self._skip()
        while self._at < len(self._text):
            if self._text[self._at] == "[":
                table = self._header()
            else:
                self._pair(table)
            self._skip()
        return self._lines

    def _header(self) -> Path:
        line = self._line()
        repeated = self._text.startswith("[[", self._at)
        self._at += 1 + repeated
        keys = self._keys()
        self._expect("]]" if repeated else "]")
        path: Path = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            if repeated and position == len(keys) - 1:
                self._arrays[path] = self._arrays.get(path, 0) + 1
                self._lines.setdefault(path, line)
            if path in self._arrays:
                path = (*path, self._arrays[path] - 1)
        self._lines[path] = line
        return path

    def _pair(self, table: Path) -> None:
        line = self._line()
        path = (*table, *self._keys())
        self._expect("=")
        self._skip()
        self._lines[path] = line
        self._value(path)

    def _value(self, path: Path) -> None:
        if self._text[self._at] == "[":
            self._at += 1
            self._skip()
            position = 0
            while self._text[self._at] != "]":
                item = (*path, position)
                self._lines[item] = self._line()
                self._value(item)
                self._comma()
                position += 1
            self._at += 1
        elif self._text[self._at] == "{":
            self._at += 1
            self._skip()
            while self._text[self._at] != "}":
                self._pair(path)
                self._comma()
            self._at += 1
        else:
            found = _QUOTED.match(self._text, self._at) or _SCALAR.match(self._text, self._at)
            self._at = self._end(found)

    def _comma(self) -> None:
        self._skip()
        if self._text[self._at] == ",":
            self._at += 1
            self._skip()

    def _keys(self) -> list[str]:
        """The parts of a key, which dots separate."""
        keys = []
        while True:
            self._skip()
            start = self._at
            quoted = self._text[start] in "\"'"
            self._at = self._end((_QUOTED if quoted else _BARE).match(self._text, start))
            key = self._text[start : self._at]
            keys.append(str(tomllib.loads(f"k = {key}")["k"]) if quoted else key)
            self._skip()
            if self._text[self._at] != ".":
                return keys
            self._at += 1

    def _expect(self, text: str) -> None:
        if not self._text.startswith(text, self._at):
            raise ValueError(text)
        self._at += len(text)

    def _skip(self) -> None:
        """Go on behind white space, line ends and comments."""
        self._at = self._end(_SPACE.match(self._text, self._at))

    def _line(self) -> int:
        position, line = self._counted
        line += self._text.count("\n", position, self._at)
        self._counted = (self._at, line)
        return line

    @staticmethod
    def _end(found: re.Match[str] | None) -> int:
        if found is None:
            raise ValueError
        return found.end()
