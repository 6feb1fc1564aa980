"""Client of the process that predicts: every call blocks until its result is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.predict import (
    MergeClassifier,
    Prediction,
    PredictionDone,
    PredictionFailed,
    PredictionStatus,
    PredictorEvent,
    PredictorReady,
    PredictorTask,
    PredictRequest,
    PredictSetup,
    RowsPredicted,
)
from tui_trainer.launch.model_process import ModelProcess, Wording

_WORDING = Wording(
    name="the process that predicts",
    memory="end other programs that need memory, or use a smaller base",
)
OnStatus = Callable[[str], None]


class PredictorProcess:
    """A model in its own process. Not thread-safe. All methods raise `UserError`."""

    def __init__(self, setup: PredictSetup, on_status: OnStatus = lambda _: None) -> None:
        """Start the process and wait until the model is loaded. `on_status` gets the progress of
        loading, a few words."""
        self._on_status = on_status
        self._process = _Process(setup)
        try:
            ready = self._next()
            if not isinstance(ready, PredictorReady):
                raise UserError("the process that predicts sent an unexpected event", 1)
        except BaseException:
            self.close()
            raise
        self.facts = ready

    def file(self, file: Path) -> Iterator[RowsPredicted]:
        """Yield the predictions for the rows of a file, in their order."""
        self._process.send(PredictRequest(file=str(file.absolute())))
        while not isinstance(event := self._next(), PredictionDone):
            if isinstance(event, RowsPredicted):
                yield event

    def text(self, text: str) -> Prediction:
        """The prediction for one text."""
        self._process.send(PredictRequest(text=text))
        rows: list[Prediction] = []
        while not isinstance(event := self._next(), PredictionDone):
            if isinstance(event, RowsPredicted):
                rows += event.rows
        if rows[0].error is not None:
            raise UserError(rows[0].error)
        return rows[0]

    def close(self) -> None:
        """Stop the process."""
        self._process.close()

    def __enter__(self) -> PredictorProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _next(self) -> PredictorEvent:
        while isinstance(event := self._process.next_event(), PredictionStatus):
            self._on_status(event.message)
        return event


def merge_classifier(adapter: Path, base: str, out: Path, on_status: OnStatus) -> Path:
    """Write a classifier's base and adapter as one model into `out`, a new or empty folder.

    An exception from `on_status` stops it. Raises `UserError`.
    """
    out = out.expanduser().absolute()
    process = _Process(MergeClassifier(adapter=str(adapter.absolute()), base=base, out=str(out)))
    try:
        while not isinstance(event := process.next_event(), PredictionDone):
            if isinstance(event, PredictionStatus):
                on_status(event.message)
    finally:
        process.close()
    return out


class _Process:
    """The process, its requests and its events."""

    def __init__(self, task: PredictorTask) -> None:
        self._process = ModelProcess("tui_trainer.engine.predict", _WORDING)
        self._decoder: msgspec.json.Decoder[PredictorEvent] = msgspec.json.Decoder(PredictorEvent)
        self.send(task)

    def send(self, request: PredictorTask | PredictRequest) -> None:
        """Write a request. If the process has ended, `next_event` says why."""
        self._process.send(request)

    def next_event(self) -> PredictorEvent:
        """The next event. Raises `UserError` for one of failure, and where the process ended."""
        line = next(self._process.lines(), None)
        if line is None:
            status, last = self._process.end()
            printed = f"; it last printed: {last}" if last else ""
            raise UserError(f"{_WORDING.name} ended with exit status {status}{printed}", 1)
        try:
            event = self._decoder.decode(line)
        except BAD_CONTENT as error:
            raise UserError(f"{_WORDING.name} sent no event: {error}", 1) from None
        if isinstance(event, PredictionFailed):
            raise UserError(event.message, event.exit_status)
        return event

    def close(self) -> None:
        """Stop the process: close its input, and kill it if it still works."""
        self._process.close()
