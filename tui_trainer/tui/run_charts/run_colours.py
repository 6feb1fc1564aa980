"""Which runs are laid over each other, and the colour that each keeps. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MOST = 9  # runs on one chart, the pinned one among them


class RunColours:
    """Numbers of runs, from which colour and letter follow: first come, kept for the session.

    A run that comes back gets its old number where that is free.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, int] = {}
        self._shown: frozenset[Path] = frozenset()

    def of(self, paths: Sequence[Path]) -> dict[Path, int]:
        """A number of its own for each of at most `MOST` runs, those that have one first."""
        found: dict[Path, int] = {}
        # Who is shown already comes before who comes back.
        for path in sorted(paths, key=lambda path: path not in self._shown):
            slot = self._kept.get(path)
            if slot is not None and slot not in found.values():
                found[path] = slot
        for path in paths:
            if path not in found:
                found[path] = self._free(set(found.values()))
        self._kept.update(found)
        self._shown = frozenset(paths)
        return found

    def _free(self, taken: set[int]) -> int:
        """The least number that nobody ever had, else the least that nobody has now."""
        remembered = taken | set(self._kept.values())
        fresh = next(slot for slot in range(len(remembered) + 1) if slot not in remembered)
        if fresh < MOST:
            return fresh
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)
