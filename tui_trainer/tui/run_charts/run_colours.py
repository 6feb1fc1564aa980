"""The numbers of the runs of an overlay, which give their colours. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MOST = 9  # runs on one chart, including the main one


class RunColours:
    """Numbers of runs, which determine colour and letter, for the whole session.

    A run that is shown again gets its earlier number if that is free.
    """

    def __init__(self) -> None:
        self._kept: dict[Path, int] = {}
        self._shown: frozenset[Path] = frozenset()

    def of(self, paths: Sequence[Path]) -> dict[Path, int]:
        """A distinct number for each of at most `MOST` runs."""
        found: dict[Path, int] = {}
        # Runs that are shown already keep their numbers before others get theirs back.
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
        """The lowest number that no run ever had, else the lowest that is free now."""
        remembered = taken | set(self._kept.values())
        fresh = next(slot for slot in range(len(remembered) + 1) if slot not in remembered)
        if fresh < MOST:
            return fresh
        return next(slot for slot in range(len(taken) + 1) if slot not in taken)
