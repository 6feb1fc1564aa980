"""Client of the process that predicts: every call blocks until its result is there."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
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
from tui_trainer.launch.engine_process import check_installed
from tui_trainer.store import child_process

CLOSE_SECONDS = 2.0  # after which a closed process is killed
KILLED = -9
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
        """Start the process in its own session, so that Ctrl-C in a terminal does not reach it."""
        check_installed()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed by `close`)
        command = child_process.module_command("tui_trainer.engine.predict")
        try:
            self._process = child_process.start(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors.fileno(),
            )
        except OSError as error:
            raise UserError(f"the process that predicts cannot be started: {error}", 1) from None
        self._decoder: msgspec.json.Decoder[PredictorEvent] = msgspec.json.Decoder(PredictorEvent)
        self.send(task)

    def send(self, request: PredictorTask | PredictRequest) -> None:
        """Write a request. If the process has ended, `next_event` says why."""
        assert self._process.stdin is not None  # noqa: S101
        try:
            data = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError:
            raise UserError("the text contains bytes that are not valid UTF-8") from None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def next_event(self) -> PredictorEvent:
        """The next event. Raises `UserError` for one of failure, and where the process ended."""
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if not line:
            raise UserError(self._end_description(), 1)
        try:
            event = self._decoder.decode(line)
        except BAD_CONTENT as error:
            raise UserError(f"the process that predicts sent no event: {error}", 1) from None
        if isinstance(event, PredictionFailed):
            raise UserError(event.message, event.exit_status)
        return event

    def close(self) -> None:
        """Stop the process: close its stdin, and kill it if it still works."""
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if stream is not None:
                    stream.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def _end_description(self) -> str:
        status = self._process.wait()
        if status == KILLED:
            return (
                "the process that predicts was killed, most likely because memory ran out; end "
                "other programs that need memory, or use a smaller base"
            )
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        last = f"; it last printed: {lines[-1]}" if lines else ""
        return f"the process that predicts ended with exit status {status}{last}"
