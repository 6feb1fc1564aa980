"""The labels and colours of the statuses of a run."""

from __future__ import annotations

from textual.content import Content

# Colours by meaning, as the themes name them.
GOOD, CAUTION, BAD, ACCENT, FAINT = "$success", "$warning", "$error", "$accent", "$faint"

# The label and the colour of each status.
_LABELS = {
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
    "hung": ("hung?", BAD),  # not a status in the run's files: detected from outside
    "stale": ("stale", CAUTION),
    "unknown": ("unknown", FAINT),
    "unreadable": ("unreadable", BAD),
}
DIMMED = frozenset({"paused"})
RESUMABLE = frozenset({"cancelled", "failed", "crashed"})


def label(status: str) -> str:
    """The label of a status, in one word."""
    return _LABELS.get(status, _LABELS["unknown"])[0]


def ended_text(status: str) -> str:
    """How a run ended, as the predicate of a sentence about it."""
    special = {"cancelled": "was cancelled", "early_stopped": "stopped early"}
    return special.get(status, label(status))


def colour(status: str) -> str:
    """The colour of a status, as a theme variable."""
    return _LABELS.get(status, _LABELS["unknown"])[1]


def badge(status: str, bold: bool = True) -> Content:
    """The label in its colour."""
    return Content.styled(label(status), f"{'bold ' if bold else ''}{colour(status)}")
