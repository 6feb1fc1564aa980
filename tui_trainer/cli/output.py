"""Printing: data to standard output, words about it to standard error."""

from __future__ import annotations

import math
import os
import sys
import time
import unicodedata
from collections.abc import Sequence
from typing import Any

import click
import msgspec

NONE = "–"
_LONGEST_SECONDS = 1e12  # 30,000 years


def data(text: str) -> None:
    """Prints a line of what was asked for."""
    click.echo(text)
    flush()


def flush() -> None:
    """Hands on what is still held back, so that an error in it is told in time."""
    if sys.stdout is not None:  # None where the shell closed it
        sys.stdout.flush()


def say(text: str) -> None:
    """Prints a line of words about it."""
    click.echo(text, err=True)


def document(value: object) -> None:
    """Prints one indented JSON document."""
    data(msgspec.json.format(_encoded(value), indent=2).decode())


def record(value: object) -> None:
    """Prints one JSON line."""
    data(_encoded(value).decode())


def _encoded(value: object) -> bytes:
    """JSON of anything that was read: text that is no Unicode (names of files and the like) and
    integers past 64 bits are put so that JSON can hold them."""
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


def escape(text: str) -> str:
    """`text` with every character that steers a terminal shown as an escape, on one line."""
    return "".join(c if _harmless(c) else ascii(c)[1:-1] for c in text)


def escape_lines(text: str) -> str:
    """As `escape`, but line breaks stay."""
    return "\n".join(escape(line) for line in text.split("\n"))


def is_interactive() -> bool:
    """Whether a full-screen session can be shown: on a terminal, in and out.

    Standard error too: Textual draws there.
    """
    capable = os.environ.get("TERM", "") != "dumb"
    return capable and all(_is_terminal(s) for s in (sys.stdin, sys.stdout, sys.stderr))


def is_live_line() -> bool:
    """Whether standard error is a terminal that can rewrite its line."""
    return os.environ.get("TERM", "") != "dumb" and _is_terminal(sys.stderr)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns, two spaces apart; cells are escaped."""
    cells = [list(headers), *([escape(cell) for cell in row] for row in rows)]
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
    return "\n".join(
        f"{margin}{escape(name)}{' ' * (width - _width(name))}  {escape(value)}".rstrip()
        for name, value in facts
    )


def number(value: float | None, digits: int = 4) -> str:
    """`digits` significant digits, thousands grouped; a dash for what is not known."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def count(value: int | None) -> str:
    """A whole number, thousands grouped."""
    return NONE if value is None else f"{value:,}"


def rate(value: float | None) -> str:
    """A learning rate, such as 1.6e-4."""
    if value is None or not math.isfinite(value):
        return NONE
    mantissa, exponent = f"{value:.2e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds, such as 12:04 or 3:02:11; days in front from the first."""
    if seconds is None or not abs(seconds) < _LONGEST_SECONDS:
        return NONE
    whole = max(0, round(seconds))
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    clock = f"{hours}:{minutes:02}:{left:02}" if hours or days else f"{minutes}:{left:02}"
    return f"{days} d {clock}" if days else clock


def size(amount: float | None) -> str:
    """Bytes in binary units, such as 4.1 MiB."""
    if amount is None:
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def moment(seconds: float | None) -> str:
    """A point in time as local date and minute."""
    if not seconds:
        return NONE
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
    except (OverflowError, ValueError, OSError):  # no year that a clock can show
        return NONE


def _harmless(character: str) -> bool:
    # Cc are the control characters, Cf the invisible ones that turn or hide text, Cs what
    # cannot be encoded, Zl and Zp line breaks of another name.
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Zl", "Zp")


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
