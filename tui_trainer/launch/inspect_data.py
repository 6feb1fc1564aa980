"""A look at a job's data, by a separate process, as tokenizers need large libraries."""

from __future__ import annotations

import subprocess
import threading
from collections import deque
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.data_inspection import (
    DataInspection,
    InspectionEvent,
    InspectionProgress,
    InspectionRequest,
)
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.launch.engine_process import check_installed
from tui_trainer.store import child_process

KILLED = -9
_KEPT_LINES = 40  # of the process's standard error

OnProgress = Callable[[str], None]


class InspectionCancelledError(Exception):
    """`Inspection.cancel` was called."""


class Inspection:
    """One look at the data, which another thread can cancel."""

    def __init__(self, request: InspectionRequest) -> None:
        self._request = request
        self._process: subprocess.Popen[bytes] | None = None
        self._cancelled = False
        self._lock = threading.Lock()

    def cancel(self) -> None:
        """End the process; `run` then raises `InspectionCancelledError`."""
        with self._lock:
            self._cancelled = True
            if self._process is not None and self._process.poll() is None:
                self._process.kill()

    def run(self, on_progress: OnProgress = lambda _: None) -> DataInspection:
        """Return the result. `on_progress` gets what the process does now, in a few words.

        Raises `UserError` with the process's message where it fails. Any exception meanwhile, such
        as that of Ctrl-C, ends the process.
        """
        check_installed()
        command = child_process.module_command("tui_trainer.engine.preflight", "data")
        pipe = subprocess.PIPE
        with self._lock:
            if self._cancelled:
                raise InspectionCancelledError
            try:
                process = child_process.start(command, stdin=pipe, stdout=pipe, stderr=pipe)
            except OSError as error:
                raise UserError(
                    f"the process that reads the data cannot be started: {error}", 1
                ) from None
            self._process = process
        errors: deque[str] = deque(maxlen=_KEPT_LINES)
        reader = threading.Thread(target=_read_errors, args=(process, errors), daemon=True)
        reader.start()
        try:
            found = self._read(process, on_progress)
            status = process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            reader.join(1.0)
            for stream in (process.stdin, process.stdout, process.stderr):
                if stream is not None:
                    stream.close()
        if self._cancelled:
            raise InspectionCancelledError
        if status == 0 and found is not None:
            return found
        raise _failure(status, errors)

    def _read(
        self, process: subprocess.Popen[bytes], on_progress: OnProgress
    ) -> DataInspection | None:
        assert process.stdin is not None and process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(msgspec.json.encode(self._request))
            process.stdin.close()
        except BrokenPipeError:
            return None
        decoder: msgspec.json.Decoder[InspectionEvent] = msgspec.json.Decoder(InspectionEvent)
        found = None
        for line in process.stdout:
            try:
                event = decoder.decode(line)
            except BAD_CONTENT:
                continue  # not a line of ours
            if isinstance(event, InspectionProgress):
                on_progress(event.message)
            else:
                found = event
        return found


def _failure(status: int, errors: deque[str]) -> UserError:
    if status == KILLED:
        return UserError(
            "the process that reads the data was killed, most likely because memory ran out; look "
            "at a part of the file",
            1,
        )
    last = errors[-1] if errors else f"the process that reads the data ended with status {status}"
    return UserError(last, status if status in (1, 2) else 1)


def _read_errors(process: subprocess.Popen[bytes], errors: deque[str]) -> None:
    assert process.stderr is not None  # noqa: S101
    for line in process.stderr:
        if line.strip():
            errors.append(line.decode("utf-8", "replace").rstrip())
