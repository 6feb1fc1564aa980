"""A look at a job's data, by a separate process, as tokenizers need large libraries."""

from __future__ import annotations

import threading
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.data_inspection import (
    DataInspection,
    InspectionEvent,
    InspectionProgress,
    InspectionRequest,
)
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.launch.model_process import ModelProcess, Wording

_WORDING = Wording(name="the process that reads the data", memory="look at a part of the file")

OnProgress = Callable[[str], None]


class InspectionCancelledError(Exception):
    """`Inspection.cancel` was called."""


class Inspection:
    """One look at the data, which another thread can cancel."""

    def __init__(self, request: InspectionRequest) -> None:
        self._request = request
        self._process: ModelProcess | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """End the process; `run` then raises `InspectionCancelledError`."""
        with self._lock:
            self._cancelled = True
            if self._process is not None:
                self._process.kill()

    def run(self, on_progress: OnProgress = lambda _: None) -> DataInspection:
        """Return the result. `on_progress` gets what the process does now, in a few words.

        Raises `UserError` with the process's message where it fails. Any exception meanwhile, such
        as that of Ctrl-C, ends the process.
        """
        with self._lock:
            if self._cancelled:
                raise InspectionCancelledError
            process = ModelProcess("tui_trainer.engine.preflight", _WORDING, "data")
            self._process = process
        try:
            process.send(self._request)
            process.close_input()
            found = _read(process, on_progress)
            if self._cancelled:
                raise InspectionCancelledError
            status, last = process.end()
        finally:
            process.close(0.0)
        if status == 0 and found is not None:
            return found
        last = last or f"{_WORDING.name} ended with status {status}"
        raise UserError(last, status if status in (1, 2) else 1)


def _read(process: ModelProcess, on_progress: OnProgress) -> DataInspection | None:
    """Return the result, the last line of the process; None where it ended without one."""
    decoder: msgspec.json.Decoder[InspectionEvent] = msgspec.json.Decoder(InspectionEvent)
    found = None
    for line in process.lines():
        try:
            event = decoder.decode(line)
        except BAD_CONTENT:
            continue  # not a line of ours
        if isinstance(event, InspectionProgress):
            on_progress(event.message)
        else:
            found = event
    return found
