"""Prints results to standard output and messages to standard error."""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Sequence
from typing import Any

import click
import msgspec

from tui_trainer.text import formats


def data(text: str) -> None:
    """Print a line of the result."""
    click.echo(text)
    flush()


def flush() -> None:
    """Flush standard output, so that a write error is raised here and not at exit."""
    if sys.stdout is not None:  # None where the caller has closed it
        sys.stdout.flush()


def message(text: str) -> None:
    """Print a line to standard error."""
    click.echo(text, err=True)


def document(value: object) -> None:
    """Print one indented JSON document."""
    data(msgspec.json.format(_encoded(value), indent=2).decode())


def record(value: object) -> None:
    """Print one JSON line."""
    data(_encoded(value).decode())


def _encoded(value: object) -> bytes:
    """Encode as JSON; text that is not valid Unicode (such as names of files) is escaped, and
    integers of more than 64 bits become floats."""
    try:
        return msgspec.json.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value)))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return float(value) if abs(value) < 2**1023 else None
    if isinstance(value, dict):
        return {_encodable(key): _encodable(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_encodable(inner) for inner in value]
    return value


def is_interactive() -> bool:
    """Whether a full-screen session can be shown: on a terminal, in and out.

    Standard error too: Textual draws there.
    """
    capable = os.environ.get("TERM", "") != "dumb"
    return capable and all(_is_terminal(s) for s in (sys.stdin, sys.stdout, sys.stderr))


def can_rewrite_line() -> bool:
    """Whether standard error is a terminal that can rewrite its line."""
    return os.environ.get("TERM", "") != "dumb" and _is_terminal(sys.stderr)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart; cells are escaped."""
    cells = [list(headers), *([formats.escape(cell) for cell in row] for row in rows)]
    widths = [max(_width(row[at]) for row in cells) for at in range(len(headers))]
    lines = []
    for row in cells:
        padded = [
            cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(padded).rstrip())
    return "\n".join(lines)


def pairs(facts: Sequence[tuple[str, str]], indent: int = 0) -> str:
    """Names and values, values aligned; both escaped."""
    width = max((_width(name) for name, _ in facts), default=0)
    margin = " " * indent
    lines = []
    for name, value in facts:
        padding = " " * (width - _width(name))
        lines.append(f"{margin}{formats.escape(name)}{padding}  {formats.escape(value)}".rstrip())
    return "\n".join(lines)


def _width(text: str) -> int:
    """Terminal cells."""
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    marks = sum(unicodedata.combining(c) != 0 for c in text)
    return len(text) + wide - marks


def _is_terminal(stream: object) -> bool:
    try:
        return bool(stream is not None and stream.isatty())  # type: ignore[attr-defined]
    except (ValueError, OSError):  # closed, or gone with its terminal
        return False
