"""The connection to the chat process, which is started when it is needed, and after a crash."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tui_trainer.chat.process import ChatProcess
from tui_trainer.contracts.chat import (
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
    """The adapters to activate, with weights, and the folder of each."""

    adapters: dict[str, float] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)


class Connection:
    """Starts the process when a request needs it, and activates the adapters that were active.
    Thread-safe. Every call may raise `UserError`."""

    def __init__(self, command: Sequence[str], on_status: Callable[[str], None]) -> None:
        """`on_status` gets the stage of loading in a few words, and how a process ended that
        is restarted."""
        self.live = ActiveAdapters()
        self.facts: ModelReady | None = None
        self._command = command
        self._on_status = on_status
        self._starting = threading.Lock()
        self._process: ChatProcess | None = None
        self._closed = False

    @property
    def process(self) -> ChatProcess | None:
        """The process, which may be loading or have ended; None before the first."""
        return self._process

    def running(self) -> ChatProcess:
        """The process, ready, with the active adapters; started if it does not run."""
        with self._starting:
            if self._closed:
                raise UserError("the chat is closed", 1)
            if self._process is not None and not self._process.over:
                return self._process
            if self._process is not None:
                self._on_status(f"{self._process.how_it_ended()}; starting it again")
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
        """Ends the process; the next request raises `UserError`."""
        self._closed = True
        process = self._process
        if process is not None:
            process.close()

    def switch(self, live: ActiveAdapters) -> None:
        """Activates other adapters. On an error nothing changes."""
        self._switch(self.running(), live)

    def ask(
        self,
        request: Request,
        last: type[Last],
        on_progress: Callable[[RequestProgress], None] = lambda _: None,
    ) -> Last:
        """Sends a request and waits for its last event."""
        return self._ask(self.running(), request, last, on_progress)

    def events(self, process: ChatProcess, request: Request) -> Generator[Event, None, None]:
        """Sends a request and yields its events. Raises the error that it failed with, or how the
        process ended; cancels the request if the generator is closed early."""
        waiting = process.listen(request.id)
        over = False
        try:
            process.send(request)
            while (event := waiting.get()) is not None:
                over = not isinstance(event, AnswerPiece | RequestProgress)
                if isinstance(event, RequestFailed):
                    raise UserError(event.message, event.exit_status)
                yield event
                if over:
                    return
            raise UserError(process.how_it_ended(), 1)
        finally:
            process.forget(request.id)
            if not over:
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
        raise UserError("the chat process gave an unexpected answer; ask again", 1)

    def _wait_until_ready(self, process: ChatProcess) -> ModelReady:
        while (event := process.general.get()) is not None:
            if isinstance(event, ModelReady):
                return event
            if isinstance(event, RequestFailed):
                raise UserError(event.message, event.exit_status)
            if isinstance(event, Status):
                self._on_status(event.message)
        raise UserError(process.how_it_ended(), 1)

    def _restore(self, process: ChatProcess) -> None:
        live = self.live
        try:
            self._switch(process, live)
        except UserError as error:
            if process.over:  # a crash, not an error: the next process may accept it
                raise
            self.live = ActiveAdapters()
            names = ", ".join(live.adapters)
            raise UserError(f"{names} was active; now no adapter is: {error}") from error

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
