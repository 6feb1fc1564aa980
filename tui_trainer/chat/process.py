"""The chat process: started, written to and read from."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections import deque
from collections.abc import Sequence

import msgspec

from tui_trainer.contracts.chat import Event, ModelReady, Request, RequestFailed, Status
from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.store import child_process

KEPT_LINES = 40
SHOWN_LINES = 3
CLOSE_SECONDS = 5.0

# A queue of the events of a request; None comes after the last.
Waiting = queue.SimpleQueue[Event | None]


class ChatProcess:
    """One process from its start to its end; a new one is made after a crash.

    Threads read its output and put each event into the queue of its request.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Starts the process in a session of its own, so that Ctrl-C in a terminal does not
        reach it; it ends when its stdin closes. Raises `UserError`."""
        try:
            self._process = child_process.start(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
        except OSError as error:
            raise UserError(f"the chat process cannot be started: {error}", 1) from None
        self.general: Waiting = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # not `_lock`: a write may wait for the process
        self._waiting: dict[str, Waiting] = {}
        self._over = False
        self._errors: deque[str] = deque(maxlen=KEPT_LINES)
        self._error_reader = threading.Thread(
            target=self._read_errors, name="chat errors", daemon=True
        )
        self._error_reader.start()
        threading.Thread(target=self._read_events, name="chat events", daemon=True).start()

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether the process has ended."""
        with self._lock:
            return self._over

    def listen(self, request_id: str) -> Waiting:
        """The queue that the events of a request are put into; None comes if the process ends."""
        waiting: Waiting = queue.SimpleQueue()
        with self._lock:
            if self._over:
                waiting.put(None)
            self._waiting[request_id] = waiting
        return waiting

    def forget(self, request_id: str) -> None:
        """Drops further events of this request."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def send(self, request: Request) -> None:
        """Writes a request; where the process has ended, its queues say so.

        Raises `UserError` for text that is not valid Unicode.
        """
        assert self._process.stdin is not None  # noqa: S101
        try:
            data = msgspec.json.encode(request) + b"\n"
        except UnicodeEncodeError:
            raise UserError("the text has bytes that are not valid UTF-8; write it again") from None
        with contextlib.suppress(OSError, ValueError), self._writing:
            self._process.stdin.write(data)
            self._process.stdin.flush()

    def close(self) -> None:
        """Ends the process: closes its stdin, and kills it after 5 seconds."""
        assert self._process.stdin is not None  # noqa: S101
        with contextlib.suppress(OSError), self._writing:
            self._process.stdin.close()
        try:
            self._process.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def how_it_ended(self) -> str:
        """One sentence on how the process ended, with the last lines that it printed."""
        status = self._process.wait()
        self._error_reader.join(1.0)
        how = f"with exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"by {signal.Signals(-status).name}"
        printed = [line for line in list(self._errors) if line.strip()][-SHOWN_LINES:]
        last = f"; it last printed: {' | '.join(printed)}" if printed else ""
        return f"the chat process ended {how}{last}"

    def _read_events(self) -> None:
        assert self._process.stdout is not None  # noqa: S101
        decoder: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)
        for line in self._process.stdout:
            try:
                self._hand_over(decoder.decode(line))
            except BAD_CONTENT as error:
                self._errors.append(f"not an event: {error}")
        self._process.wait()
        with self._lock:
            self._over = True
            for waiting in (self.general, *self._waiting.values()):
                waiting.put(None)

    def _hand_over(self, event: Event) -> None:
        if isinstance(event, ModelReady | Status) or (
            isinstance(event, RequestFailed) and event.id is None
        ):
            self.general.put(event)
            return
        with self._lock:
            waiting = self._waiting.get(event.id or "")
        if waiting is not None:
            waiting.put(event)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None  # noqa: S101
        for line in self._process.stderr:
            self._errors.append(line.decode("utf-8", "replace").rstrip())


def serve_command(model: str, *, trust_remote_code: bool, threads: int | None) -> list[str]:
    """The command line of the chat process."""
    command = child_process.module_command("tui_trainer.models.serving.serve", "--model", model)
    if trust_remote_code:
        command.append("--trust-remote-code")
    return command if threads is None else [*command, "--threads", str(threads)]
