"""One word and one colour for each state a run can be in."""

from __future__ import annotations

from textual.content import Content

# Colours by meaning, as the themes name them.
GOOD, CAUTION, BAD, ACCENT, FAINT = "$success", "$warning", "$error", "$accent", "$faint"

_WORDS = {
    "idle": ("idle", FAINT),
    "preparing": ("preparing", ACCENT),
    "training": ("training", GOOD),
    "paused": ("paused", CAUTION),
    "evaluating": ("evaluating", ACCENT),
    "saving": ("saving", ACCENT),
    "completed": ("completed", GOOD),
    "early_stopped": ("early-stopped", GOOD),
    "cancelled": ("cancelled", CAUTION),
    "failed": ("failed", BAD),
    "crashed": ("crashed", BAD),
    "hung": ("hung?", BAD),  # not a state of the run, but what is seen of it
    "stale": ("stale", CAUTION),
    "unknown": ("unknown", FAINT),
    "unreadable": ("unreadable", BAD),
}
DIMMED = frozenset({"paused"})
RESUMABLE = frozenset({"cancelled", "failed", "crashed"})


def word(status: str) -> str:
    """The state's one word."""
    return _WORDS.get(status, _WORDS["unknown"])[0]


def colour(status: str) -> str:
    """The state's one colour, as a theme variable."""
    return _WORDS.get(status, _WORDS["unknown"])[1]


def badge(status: str, bold: bool = True) -> Content:
    """The word in its colour."""
    return Content.styled(word(status), f"{'bold ' if bold else ''}{colour(status)}")
