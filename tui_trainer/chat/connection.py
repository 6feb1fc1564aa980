"""The connection to the chat process, which is started on demand and again after a crash."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tui_trainer.chat.process import ChatProcess
from tui_trainer.contracts.chat.protocol import (
    AdaptersUsed,
    AnswerPiece,
    CancelRequest,
    Event,
    ModelReady,
    Request,
    RequestFailed,
    RequestProgress,
    Status,
    UseRequest,
)
from tui_trainer.contracts.errors import UserError

Last = TypeVar("Last", bound=Event)


@dataclass(frozen=True)
class ActiveAdapters:
    """The adapters to use for answers."""

    adapters: dict[str, float] = field(default_factory=dict)  # weight by name
    folders: dict[str, Path] = field(default_factory=dict)  # folder by name


class Connection:
    """Starts the chat process on demand and restores the active adapters. Thread-safe. All methods
    raise `UserError`."""

    def __init__(self, command: Sequence[str], on_status: Callable[[str], None]) -> None:
        """`on_status` gets the progress of loading, and how a process ended that is started
        again."""
        self.live = ActiveAdapters()
        self.facts: ModelReady | None = None
        self._command = command
        self._on_status = on_status
        self._starting = threading.Lock()
        self._process: ChatProcess | None = None
        self._closed = False

    @property
    def process(self) -> ChatProcess | None:
        """The process, which may be loading or ended; None before the first one."""
        return self._process

    def ready_process(self) -> ChatProcess:
        """The process, with the base loaded and the adapters active; starts it if needed."""
        with self._starting:
            if self._closed:
                raise UserError("the chat is closed", 1)
            if self._process is not None and not self._process.ended:
                return self._process
            if self._process is not None:
                self._on_status(f"{self._process.end_description()}; starting it again")
            self._process = process = ChatProcess(self._command)
            try:
                self.facts = self._wait_until_ready(process)
            except BaseException:
                process.close()
                self._process = None
                raise
            if self.live.adapters:
                self._restore(process)
            return process

    def close(self) -> None:
        """Stop the process; later requests raise `UserError`."""
        self._closed = True
        process = self._process
        if process is not None:
            process.close()

    def switch(self, live: ActiveAdapters) -> None:
        """Replace the active adapters; a refused change has no effect."""
        self._switch(self.ready_process(), live)

    def ask(
        self,
        request: Request,
        last: type[Last],
        on_progress: Callable[[RequestProgress], None] = lambda _: None,
    ) -> Last:
        """Send a request and wait for its final event, of the type `last`."""
        return self._ask(self.ready_process(), request, last, on_progress)

    def events(self, process: ChatProcess, request: Request) -> Generator[Event, None, None]:
        """Send a request and yield its events.

        Raises `UserError` if the request fails or the process ends. Closing the generator early
        cancels the request.
        """
        queue = process.subscribe(request.id)
        finished = False
        try:
            process.send(request)
            while (event := queue.get()) is not None:
                finished = not isinstance(event, AnswerPiece | RequestProgress)
                if isinstance(event, RequestFailed):
                    raise UserError(event.message, event.exit_status)
                yield event
                if finished:
                    return
            raise UserError(process.end_description(), 1)
        finally:
            process.unsubscribe(request.id)
            if not finished:
                process.send(CancelRequest(id=new_id(), target=request.id))

    def _ask(
        self,
        process: ChatProcess,
        request: Request,
        last: type[Last],
        on_progress: Callable[[RequestProgress], None] = lambda _: None,
    ) -> Last:
        with closing(self.events(process, request)) as events:
            for event in events:
                if isinstance(event, RequestProgress):
                    on_progress(event)
                elif isinstance(event, last):
                    return event
        raise UserError("the chat process sent an unexpected event; try again", 1)

    def _wait_until_ready(self, process: ChatProcess) -> ModelReady:
        while (event := process.startup_events.get()) is not None:
            if isinstance(event, ModelReady):
                return event
            if isinstance(event, RequestFailed):
                raise UserError(event.message, event.exit_status)
            if isinstance(event, Status):
                self._on_status(event.message)
        raise UserError(process.end_description(), 1)

    def _restore(self, process: ChatProcess) -> None:
        live = self.live
        try:
            self._switch(process, live)
        except UserError as error:
            if process.ended:  # not refused: the next process may accept them
                raise
            self.live = ActiveAdapters()
            names = ", ".join(live.adapters)
            raise UserError(
                f"{names} cannot be activated again, so the base alone is active: {error}"
            ) from error

    def _switch(self, process: ChatProcess, live: ActiveAdapters) -> None:
        request = UseRequest(
            id=new_id(),
            adapters=live.adapters,
            folders={name: str(path.absolute()) for name, path in live.folders.items()},
        )
        self._ask(process, request, AdaptersUsed)
        self.live = live


def new_id() -> str:
    """A new id for a request."""
    return secrets.token_hex(8)
