"""The protocol of all readers of metrics, whatever tool wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from tui_trainer.watch.tables.history import History

_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class SourceFacts:
    """What a source knows about its run besides the metrics."""

    name: str | None = None
    config: Mapping[str, Any] = field(default_factory=lambda: _NO_CONFIG)  # `section.key` to value
    total_steps: int | None = None
    created_at: float | None = None  # seconds since the epoch
    status: str | None = None  # "completed", "failed" or "cancelled" if the tool recorded it
    message: str = ""
    lacks: tuple[str, ...] = ()  # labels of what the run does not record


@dataclass(frozen=True)
class SourcePeek:
    """The values for a run's row in the run list; see `RunSummary` for their meaning."""

    step: float | None = None
    loss: float | None = None
    best_val_loss: float | None = None
    best_loss: float | None = None
    learning_rate: float | None = None
    epoch: float | None = None
    spark: tuple[float, ...] = ()
    trend: float | None = None
    tokens_per_second: float | None = None
    seconds_per_step: float | None = None
    total_steps: int | None = None
    created_at: float | None = None
    name: str | None = None
    status: str | None = None
    message: str = ""


class Source(Protocol):
    """Reads a run's metrics as they grow, slice by slice."""

    @property
    def history(self) -> History:
        """The tables so far; another object once the file was read again from its start."""
        ...

    def read(self) -> tuple[bool, bool]:
        """Reads one slice (at most 10 ms of work); whether there was new data, and whether there
        is more. Raises `OSError`."""
        ...

    def settle(self) -> bool:
        """Handles an incomplete end of the file, such as a last line that is cut off; called when
        there is no more data. Returns whether anything changed."""
        ...

    def warnings(self) -> list[str]:
        """Warnings about the files, one sentence each."""
        ...

    def facts(self) -> SourceFacts:
        """What is known about the run besides its metrics."""
        ...
