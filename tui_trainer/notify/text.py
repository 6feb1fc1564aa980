"""Text that is fit to leave the program: for a terminal's escape sequence, a desktop, a chat."""

from __future__ import annotations

import unicodedata
from urllib.parse import urlsplit

_LONGEST = 300


def plain(text: str, longest: int = _LONGEST) -> str:
    """One line of at most so many characters, in which nothing steers a terminal: control,
    direction, line and unassigned characters become blanks."""
    if not (text.isascii() and text.isprintable()):
        text = "".join(" " if unicodedata.category(c)[0] in "CZ" else c for c in text)
    text = " ".join(text.split())
    return text if len(text) <= longest else text[: longest - 1] + "…"


def shown_address(address: str) -> str:
    """A webhook's address without what may be secret in it: scheme and host, and that there is
    more."""
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    more = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{host}{port}{more}"
