"""What reading a data file yields for each example."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

NOT_JSON = "not valid JSON"
NOT_UTF8 = "not valid UTF-8"
TORN = "an incomplete last line"
NUL = "a NUL byte, as a disk that was full or a crash leaves them"
TOO_LONG = "longer than 64 MiB"
NOT_OBJECT = "not an object with named fields"
BAD_QUOTES = "quotation marks that do not match"

LONGEST = 64 << 20  # bytes of a line, a cell, or an element of a list


@dataclass(frozen=True)
class Unreadable:
    """An example that cannot be decoded."""

    reason: str  # the same for all of its kind
    detail: str = ""  # of this one

    def text(self) -> str:
        """Return `REASON: DETAIL`."""
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


# (unit, number, value): the unit of the number is "line" or "row"; the value of a readable example
# is what the file has there.
Values = Iterator[tuple[str, int, Any]]
