"""What reads the metrics of one run, whoever wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from tui_trainer.watch.tables.history import History

_NO_CONFIG: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True)
class SourceFacts:
    """What a source knows of its run beside the metrics.

    `config` is flat (`section.key` to value); `created_at` seconds since the epoch; `status`
    "completed", "failed" or "cancelled" where the tool recorded it; `lacks` names what the run
    does not record.
    """

    name: str | None = None
    config: Mapping[str, Any] = field(default_factory=lambda: _NO_CONFIG)
    total_steps: int | None = None
    created_at: float | None = None
    status: str | None = None
    message: str = ""
    lacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class SourcePeek:
    """A run seen from afar, as a row of the list shows it; see `RunSummary` for the meanings."""

    step: float | None = None
    loss: float | None = None
    best_val_loss: float | None = None
    best_loss: float | None = None
    learning_rate: float | None = None
    epoch: float | None = None
    spark: tuple[float, ...] = ()
    trend: float | None = None
    tokens_per_second: float | None = None
    eta_seconds: float | None = None
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
        """The tables so far; another object once the file was read anew."""
        ...

    def read(self) -> tuple[bool, bool]:
        """Reads one slice (10 ms of work at most): whether anything arrived, and whether more
        waits. Raises `OSError`."""
        ...

    def settle(self) -> bool:
        """Called when nothing more waits, for a torn last line and the like: whether anything
        changed."""
        ...

    def oddities(self) -> list[str]:
        """What was strange, a sentence each."""
        ...

    def facts(self) -> SourceFacts:
        """What is known of the run beside its metrics."""
        ...
