"""Asking a run to do something, and waiting for its word that it did."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.run import ACTIVE_STATES, Command, CommandName, Event
from tui_trainer.store import atomic
from tui_trainer.store.regular_files import open_regular
from tui_trainer.store.runs.run_folder import RunFolder


def send(
    folder: RunFolder, command: CommandName, arguments: dict[str, Any] | None = None
) -> Command:
    """Appends a command to `control.jsonl` and returns it. Raises `UserError` where no process
    is there to obey."""
    status, name = folder.status(), folder.path.name
    if status not in ACTIVE_STATES and status != "idle":
        ours = status in ("crashed", "cancelled") and folder.loop_info() is None
        hint = "; tui-trainer resume carries it on" if ours else ""
        raise UserError(f"run {name} is {status} and takes no commands{hint}", 1)
    state = folder.state()
    if state is not None and not state.obeys(command):
        takes = f"takes {', '.join(state.commands)} only" if state.commands else "takes no commands"
        raise UserError(f"run {name} does not obey {command}: its training loop {takes}", 1)
    record = Command(
        id=os.urandom(8).hex(), time=time.time(), command=command, arguments=arguments or {}
    )
    try:
        with atomic.appending(folder.control_file) as lines:
            lines.append(record, durable=True)
    except OSError as error:
        raise UserError(f"{folder.control_file} cannot be written: {error.strerror}", 1) from None
    return record


def wait(folder: RunFolder, command: Command, timeout: float) -> Event | None:
    """The event that acknowledges `command`, or None after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    offset = 0
    while True:
        offset, found = _acknowledged(folder, command.id, offset)
        if found is not None or time.monotonic() >= deadline:
            return found
        time.sleep(0.02)


def _acknowledged(folder: RunFolder, command_id: str, offset: int) -> tuple[int, Event | None]:
    """Looks through what was appended since `offset`; gives the next offset, and the event."""
    try:
        with open_regular(folder.events_file) as file:
            file.seek(offset)
            data = file.read()
    except OSError:
        return offset, None
    whole = data.rfind(b"\n") + 1
    for line in data[:whole].split(b"\n"):
        if command_id.encode() in line:
            with contextlib.suppress(*BAD_CONTENT):
                event = msgspec.json.decode(line, type=Event)
                if event.id == command_id:
                    return offset + whole, event
    return offset + whole, None
