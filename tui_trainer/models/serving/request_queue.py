"""Requests on their way to the thread that has the model. No torch: it is there before that."""

from __future__ import annotations

import threading
from collections import deque

from tui_trainer.contracts.chat import BatchRequest, CancelRequest, Request


class RequestQueue:
    """A queue in which whatever is quick goes before batches of answers, and from which
    requests can be taken back. For several threads."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[Request] = deque()
        self._open: dict[str, bool] = {}  # id -> whether it is taken back
        self._closed = False

    def put(self, request: Request) -> None:
        """Adds a request, or takes back the one that a `CancelRequest` names."""
        with self._changed:
            if isinstance(request, CancelRequest):
                if request.target in self._open:
                    self._open[request.target] = True
                return
            self._open[request.id] = False
            self._waiting.append(request)
            self._changed.notify_all()

    def next(self) -> Request | None:
        """The next request, waited for; None when there will be no more."""
        with self._changed:
            while not self._waiting and not self._closed:
                self._changed.wait()
            return None if self._closed else self._take_quick() or self._waiting.popleft()

    def next_quick(self) -> Request | None:
        """A request that is no batch, if one waits."""
        with self._changed:
            return None if self._closed else self._take_quick()

    def cancelled(self, request_id: str) -> bool:
        """Whether a request was taken back, or nobody waits for anything any more."""
        with self._changed:
            return self._closed or self._open.get(request_id, False)

    def done(self, request_id: str) -> None:
        """Forgets a request that has had its last event."""
        with self._changed:
            self._open.pop(request_id, None)

    def close(self) -> None:
        """No more requests; what waits is dropped, what is under way counts as cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _take_quick(self) -> Request | None:
        for request in self._waiting:
            if not isinstance(request, BatchRequest):
                self._waiting.remove(request)
                return request
        return None
