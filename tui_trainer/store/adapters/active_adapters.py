"""Which adapters answer, by base model: `live.json`."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.store import atomic

_Weights = dict[str, float]


class ActiveChoice:
    """Reads and atomically replaces the choice. Whoever writes holds the adapters' lock."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "live.json"

    def read(self) -> dict[str, _Weights]:
        """Adapters with their weights, by base; nothing where the file is absent or broken."""
        with contextlib.suppress(OSError, *BAD_CONTENT):
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Weights])
        return {}

    def write(self, base: str, weights: _Weights) -> None:
        """Replaces the choice for one base. Raises `UserError` for a weight that is no number
        other than 0."""
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight == 0:
                raise UserError(f"adapter {name!r} cannot have the weight {weight:g}")
        everything = self.read() | {base: dict(weights)}
        self._put({key: value for key, value in everything.items() if value})

    def forget(self, name: str) -> None:
        """Takes an adapter out."""
        self._change(lambda weights: without(weights, {name}))

    @contextlib.contextmanager
    def renaming(self, old: str, new: str) -> Iterator[None]:
        """Around the renaming of a folder. Meanwhile both names stand in the choice, of which
        one exists at any instant, so that a kill in between loses nothing."""
        self._change(lambda weights: _doubled(weights, old, new))
        yield
        self._change(lambda weights: {key: weights[key] for key in weights if key != old})

    def _change(self, change: Callable[[_Weights], _Weights]) -> None:
        before = self.read()
        after = {base: left for base in before if (left := change(before[base]))}
        if after != before:
            self._put(after)

    def _put(self, everything: dict[str, _Weights]) -> None:
        atomic.write_json(self._file, everything)


def without(weights: _Weights, gone: Collection[str]) -> _Weights:
    """`weights` without those that are gone; the only one left of several answers in full."""
    left = {name: weight for name, weight in weights.items() if name not in gone}
    return dict.fromkeys(left, 1.0) if len(left) == 1 < len(weights) else left


def _doubled(weights: _Weights, old: str, new: str) -> _Weights:
    return weights | {new: weights[old]} if old in weights else weights
