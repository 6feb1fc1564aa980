"""Requests that wait for a thread. Does not import torch: it is used before that is loaded."""

from __future__ import annotations

import threading
from collections import deque

from tui_trainer.contracts.chat.protocol import BatchRequest, CancelRequest, Request


class RequestQueue:
    """A queue in which batches of answers come last and requests can be cancelled.
    Thread-safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._open: dict[str, bool] = {}  # id -> whether it is cancelled
        self._closed = False

    def put(self, request: Request) -> None:
        """Adds a request, or cancels the one that a `CancelRequest` names."""
        with self._changed:
            if isinstance(request, CancelRequest):
                if request.target in self._open:
                    self._open[request.target] = True
                return
            self._open[request.id] = False
            self._waiting.append(request)
            self._changed.notify_all()

    def next(self) -> Request | None:
        """Waits for the next request; None after `close`."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return None if self._closed else self._take_quick() or self._waiting.popleft()

    def next_quick(self) -> Request | None:
        """The next request that is not a batch, or None; does not wait."""
        with self._changed:
            return None if self._closed else self._take_quick()

    def cancelled(self, request_id: str) -> bool:
        """Whether a request is cancelled, or the queue is closed."""
        with self._changed:
            return self._closed or self._open.get(request_id, False)

    def done(self, request_id: str) -> None:
        """Forgets a request whose last event was sent."""
        with self._changed:
            self._open.pop(request_id, None)

    def close(self) -> None:
        """Drops the waiting requests; those that are being executed count as cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take_quick(self) -> Request | None:
        for request in self._waiting:
            if not isinstance(request, BatchRequest):
                self._waiting.remove(request)
                return request
        return None
