"""The chat process: starting it, writing requests, reading events."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from tui_trainer.contracts.chat.protocol import Event, ModelReady, Request, RequestFailed, Status
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.job import Quantization
from tui_trainer.store import child_process

KEPT_LINES = 40  # of the process's stderr
SHOWN_LINES = 3  # of them, in an error message
CLOSE_SECONDS = 5.0  # after which a closed process is killed

# Events of one request, or of the start; None: the process has ended.
EventQueue = queue.SimpleQueue[Event | None]


class ChatProcess:
    """One process, from its start to its end. Thread-safe.

    Background threads read its events and put each one into the queue of its request.
    `startup_events` has those that belong to no request.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Start the process in its own session, so that Ctrl-C in a terminal does not reach it.
        It exits when its stdin is closed. Raises `UserError`."""
        try:
            self._process = child_process.start(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise UserError(f"the chat process cannot be started: {error}", 1) from None
        self.startup_events: EventQueue = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()  # separate, as a write may block
        self._queues: dict[str, EventQueue] = {}  # by request
        self._ended = False
        self._errors: deque[str] = deque(maxlen=KEPT_LINES)
        self._error_reader = threading.Thread(
            target=self._read_errors, name="chat errors", daemon=True
        )
        self._error_reader.start()
        threading.Thread(target=self._read_events, name="chat events", daemon=True).start()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process has ended and all its events are queued."""
        with self._lock:
            return self._ended

    def subscribe(self, request_id: str) -> EventQueue:
        """The queue that gets the events of a request, and None if the process ends."""
        events: EventQueue = queue.SimpleQueue()
        with self._lock:
            if self._ended:
                events.put(None)
            self._queues[request_id] = events
        return events

    def unsubscribe(self, request_id: str) -> None:
        """Drop the queue of a request."""
        with self._lock:
            self._queues.pop(request_id, None)

    def send(self, request: Request) -> None:
        """Write a request. If the process has ended, the request's queue gets None.

        Raises `UserError` for text that is not valid Unicode.
        """
        assert self._process.stdin is not None  # noqa: S101
        try:
            data = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError:
            raise UserError("the text contains bytes that are not valid UTF-8") from None
        with contextlib.suppress(OSError, ValueError), self._write_lock:
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def close(self) -> None:
        """Stop the process by closing its stdin; kill it after `CLOSE_SECONDS`."""
        assert self._process.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError), self._write_lock:
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def end_description(self) -> str:
        """How the process ended, in one sentence with the last lines that it printed."""
        status = self._process.wait()
        self._error_reader.join(1.0)
        how = f"ended with exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-status).name}"
        printed = [line for line in list(self._errors) if line.strip()][-SHOWN_LINES:]
        last = f"; it last printed: {' | '.join(printed)}" if printed else ""
        return f"the chat process {how}{last}"

    def _read_events(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
        for line in self._process.stdout:
            try:
                self._dispatch(decoder.decode(line))
            except BAD_CONTENT as error:
                self._errors.append(f"not an event: {error}")
        self._process.wait()
        with self._lock:
            self._ended = True
            for events in (self.startup_events, *self._queues.values()):
                events.put(None)

    def _dispatch(self, event: Event) -> None:
        if isinstance(event, ModelReady | Status) or (
            isinstance(event, RequestFailed) and event.id is None
        ):
            self.startup_events.put(event)
            return
        with self._lock:
            events = self._queues.get(event.id or "")
        if events is not None:
            events.put(event)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        for line in self._process.stderr:
            self._errors.append(line.decode("utf-8", "replace").rstrip())


def serve_command(
    model: str,
    *,
    trust_remote_code: bool,
    threads: int | None,
    quantization: Quantization = "none",
) -> list[str]:
    """The chat process's command line."""
    command = child_process.module_command("tui_trainer.models.serving.serve", "--model", model)
    if trust_remote_code:
        command.append("--trust-remote-code")
    if quantization != "none":
        command += ["--quantization", quantization]
    return command if threads is None else [*command, "--threads", str(threads)]
