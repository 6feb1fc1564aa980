"""Sending commands to a run, and waiting for the events that acknowledge them."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Command, CommandName, Event
from tui_trainer.store import atomic, jsonl
from tui_trainer.store.runs.run_folder import RunFolder

POLL_SECONDS = 0.02


def send(
    folder: RunFolder, command: CommandName, arguments: dict[str, Any] | None = None
) -> Command:
    """Append a command to `control.jsonl` and return it. Raises `UserError` if no process can
    execute it."""
    status, name = folder.status(), folder.path.name
    if status not in ACTIVE_STATES and status != "idle":
        ours = status in ("crashed", "cancelled") and folder.loop_info() is None
        hint = f"; resume it with: tui-trainer resume {name}" if ours else ""
        raise UserError(f"run {name} is {status} and accepts no commands{hint}", 1)
    state = folder.state()
    if state is not None and not state.accepts(command):
        accepted = f"only accepts {', '.join(state.commands)}" if state.commands else "accepts none"
        raise UserError(f"run {name} does not accept {command}: its training loop {accepted}", 1)
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
    events: jsonl.RecordReader[Event] = jsonl.RecordReader(folder.events_file, Event)
    while True:
        with contextlib.suppress(OSError):  # absent until the engine has written its first event
            for event in events.new():
                if event.id == command.id:
                    return event
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_SECONDS)
