"""The active adapters, by base model: `live.json`."""

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
    """Reads and atomically replaces `live.json`. Writing needs the adapter store's lock."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "live.json"

    def read(self) -> dict[str, _Weights]:
        """Adapters and their weights, by base; empty if the file is missing or damaged."""
        with contextlib.suppress(OSError, *BAD_CONTENT):
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, _Weights])
        return {}

    def write(self, base: str, weights: _Weights) -> None:
        """Replace the active adapters of one base. Raises `UserError` for a weight that is 0 or
        not finite."""
        for name, weight in weights.items():
            if not math.isfinite(weight) or weight == 0:
                raise UserError(
                    f"adapter {name!r} cannot have the weight {weight:g}; use a number other than 0"
                )
        everything = self.read() | {base: dict(weights)}
        self._put({key: value for key, value in everything.items() if value})

    def forget(self, name: str) -> None:
        """Deactivate an adapter for all bases."""
        self._change(lambda weights: without(weights, {name}))

    @contextlib.contextmanager
    def renaming(self, old: str, new: str) -> Iterator[None]:
        """Context in which an adapter's folder is renamed. In it both names are in the file, of
        which one exists at any time, so that a kill loses nothing."""
        self._change(lambda weights: _doubled(weights, old, new))
        yield
        self._change(lambda weights: {key: weights[key] for key in weights if key != old})

    def _change(self, change: Callable[[_Weights], _Weights]) -> None:
        before = self.read()
        after = {base: changed for base in before if (changed := change(before[base]))}
        if after != before:
            self._put(after)

    def _put(self, everything: dict[str, _Weights]) -> None:
        atomic.write_json(self._file, everything)


def without(weights: _Weights, gone: Collection[str]) -> _Weights:
    """`weights` without the adapters in `gone`; the only remaining one of several gets weight 1."""
    remaining = {name: weight for name, weight in weights.items() if name not in gone}
    return dict.fromkeys(remaining, 1.0) if len(remaining) == 1 < len(weights) else remaining


def _doubled(weights: _Weights, old: str, new: str) -> _Weights:
    return weights | {new: weights[old]} if old in weights else weights
