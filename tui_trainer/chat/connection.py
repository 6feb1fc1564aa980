"""The line to the chat process: there when it is needed, again after a crash."""

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
    """Which adapters are to answer, with weights, and where each lies."""

    adapters: dict[str, float] = field(default_factory=dict)
    folders: dict[str, Path] = field(default_factory=dict)


class Connection:
    """Starts the process when something is asked and it is not there, and gives it what was
    live. For several threads at once. Everything raises `UserError`."""

    def __init__(self, command: Sequence[str], on_status: Callable[[str], None]) -> None:
        """`on_status` gets a few words about what loading does, and how a process ended that
        is started again."""
        self.live = ActiveAdapters()
        self.facts: ModelReady | None = None
        self._command = command
        self._on_status = on_status
        self._starting = threading.Lock()
        self._process: ChatProcess | None = None
        self._closed = False

    @property
    def process(self) -> ChatProcess | None:
        """The process, which may be loading or have ended."""
        return self._process

    def running(self) -> ChatProcess:
        """The process, loaded and given what is live."""
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
        """Ends the process; the next thing asked raises `UserError`."""
        self._closed = True
        process = self._process
        if process is not None:
            process.close()

    def switch(self, live: ActiveAdapters) -> None:
        """Lets other adapters answer. Refused, nothing changes."""
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
        """Sends a request and gives its events. Raises what it failed with, or how the process
        ended; takes the request back where the generator is closed early."""
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
        raise UserError("the chat process answered something else than it was asked", 1)

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
            if process.over:  # not refused: the next process may still take it
                raise
            self.live = ActiveAdapters()
            names = ", ".join(live.adapters)
            raise UserError(f"{names} was live; now the base alone answers: {error}") from error

    def _switch(self, process: ChatProcess, live: ActiveAdapters) -> None:
        request = UseRequest(
            id=new_id(),
            adapters=live.adapters,
            folders={name: str(path.absolute()) for name, path in live.folders.items()},
        )
        self._ask(process, request, AdaptersUsed)
        self.live = live


def new_id() -> str:
    """A request's id."""
    return secrets.token_hex(8)
