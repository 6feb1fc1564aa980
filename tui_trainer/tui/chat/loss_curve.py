"""The losses of the current training, read from the end of its metrics file."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs.run_folder import RunFolder

_TAIL = 65_536  # bytes, about 250 steps


class _Line(msgspec.Struct):
    kind: str = ""
    loss: float | None = None


@dataclass(frozen=True)
class LossCurve:
    """The newest losses, oldest first; the remaining time in seconds; the run's state."""

    losses: tuple[float, ...] = ()
    eta_seconds: float | None = None
    status: str = ""


def curve_of(record: TrainingRecord) -> LossCurve | None:
    """The curve of a running training; None for any other."""
    if record.state != "training" or record.run_path is None:
        return None
    folder = RunFolder(Path(record.run_path))
    state = folder.state()
    return LossCurve(
        losses=losses_of(folder.metrics_file),
        eta_seconds=state.eta_seconds if state else None,
        status=state.state if state else "",
    )


def losses_of(file: Path) -> tuple[float, ...]:
    """The newest losses in a metrics file, oldest first."""
    decoder = msgspec.json.Decoder(_Line)
    found: list[float] = []
    for data in _tail(file).split(b"\n"):
        with contextlib.suppress(*BAD_CONTENT):
            line = decoder.decode(data)
            if line.kind == "train" and line.loss is not None:
                found.append(line.loss)
    return tuple(found)


def _tail(file: Path) -> bytes:
    try:
        with open_regular(file) as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - _TAIL))
            return stream.read()
    except OSError:
        return b""
