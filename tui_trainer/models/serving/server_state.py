"""What the threads of the chat process share: output, requests, end. Does not import torch."""

from __future__ import annotations

import os
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO

import msgspec

from tui_trainer.contracts.chat.protocol import (
    CheckRequest,
    CompareRequest,
    Event,
    MergeRequest,
    Request,
    RequestFailed,
)
from tui_trainer.contracts.errors import UserError, is_out_of_memory
from tui_trainer.models.serving.request_queue import RequestQueue


class OutputPipe:
    """Standard output of the process: one event a line. Thread-safe."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._encoder = msgspec.json.Encoder()

    def send(self, event: Event) -> None:
        """Writes one event; ends the process where the pipe is closed."""
        data = self._encoder.encode(event) + b"\n"
        try:
            with self._lock:
                self._stream.write(data)
                self._stream.flush()
        except OSError:
            os._exit(0)


@dataclass
class ServerState:
    """What the threads share.

    wire: where events are written.
    model_requests: requests that need the model.
    file_requests: requests that only need files.
    ended: set when the main thread has finished.
    """

    wire: OutputPipe
    model_requests: RequestQueue = field(default_factory=RequestQueue)
    file_requests: RequestQueue = field(default_factory=RequestQueue)
    ended: threading.Event = field(default_factory=threading.Event)

    def inbox_of(self, request: Request) -> RequestQueue:
        """The queue of a request: those that only use files do not wait for the model."""
        if isinstance(request, CheckRequest | CompareRequest | MergeRequest):
            return self.file_requests
        return self.model_requests

    def perform(
        self, inbox: RequestQueue, request: Request, work: Callable[[Request], Event]
    ) -> None:
        """Executes one request and sends its last event; never raises."""
        try:
            event = work(request)
        except UserError as error:
            event = RequestFailed(id=request.id, message=str(error), exit_status=error.exit_status)
        except Exception as error:
            traceback.print_exc()
            event = RequestFailed(id=request.id, message=unexpected(error))
        inbox.done(request.id)
        self.wire.send(event)


def unexpected(error: Exception) -> str:
    """An unexpected exception in one sentence."""
    if is_out_of_memory(error):
        return "out of memory: ask for fewer tokens, or use a smaller model"
    first = (str(error).strip() or "no message").splitlines()[0]
    return f"unexpected {type(error).__name__}: {first}"
