"""Delimited text: which character separates the cells of a table."""

from __future__ import annotations

import re

DELIMITERS = ",;\t|"
_QUOTED = re.compile(r'"[^"]*"')


def delimiter(header: str) -> str:
    """Return the character that separates the cells of a header; a comma where it has one cell.
    What is in quotation marks does not count."""
    bare = _QUOTED.sub("", header)
    return max(DELIMITERS, key=bare.count)
