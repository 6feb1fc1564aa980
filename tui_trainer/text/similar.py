"""The known name that a mistyped one probably means."""

from __future__ import annotations

from collections.abc import Sequence


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known name that is most similar to `word`; None if none is similar."""
    import difflib  # needed only for a typing error

    found = difflib.get_close_matches(word[:100], known, n=1, cutoff=0.5)
    return found[0] if found else None
