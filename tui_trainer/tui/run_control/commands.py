"""Sending commands to runs from the screen."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING, Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import ACTIVE_STATES, CommandName, Event
from tui_trainer.store.runs import run_control
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.background import Post, in_background
from tui_trainer.tui.messages import NoticePosted, StopsAcknowledged

if TYPE_CHECKING:
    from tui_trainer.watch.snapshots import RunSummary

WAIT_SECONDS = 30.0


def refusal(run: RunSummary | None, resume_key: str = "") -> str | None:
    """Why a run accepts no commands from here, as one sentence; None if it accepts them.

    `resume_key` is the key that resumes it; without one the sentence gives the command.
    """
    if run is None:
        return "no run is selected"
    name = clean(run.name)
    if run.kind != "run":
        return f"{name} cannot be controlled: it was written by {clean(run.tool)}"
    if run.status in run_status.RESUMABLE and not run.ours:
        ended = run_status.ended_text(run.status)
        return f"{name} {ended}; only the program that wrote it can resume it"
    if run.status in run_status.RESUMABLE:
        how = f"press {resume_key}" if resume_key else f"tui-trainer resume {clean(str(run.path))}"
        return f"{name} {run_status.ended_text(run.status)}; to resume it: {how}"
    if run.status == "idle":
        return f"{name} has not started yet and accepts no commands"
    if run.status not in ACTIVE_STATES:
        return f"{name} is {run_status.label(run.status)} and accepts no commands"
    state = RunFolder(run.path).state()
    if state is not None and state.host not in (None, socket.gethostname()):
        return f"{name} runs on {clean(str(state.host))}; control it from there"
    if state is not None and state.commands == ():
        return f"{name} does not accept commands: it can only be watched"
    return None


def ask(
    post: Post, run: RunSummary, command: CommandName, arguments: dict[str, Any] | None = None
) -> None:
    """Send a command in the background; its acknowledgement is posted as a notice."""
    in_background(command, lambda: post(_send(run, command, arguments)))


def stop_all(post: Post, folders: list[RunFolder]) -> None:
    """Ask several runs to save and stop; post `StopsAcknowledged` when all have acknowledged
    or timed out."""

    def work() -> None:
        sent = []
        for folder in folders:
            try:
                sent.append((folder, run_control.send(folder, "stop")))
            except UserError as error:
                post(NoticePosted(str(error), "warning"))
        deadline = time.monotonic() + WAIT_SECONDS
        for folder, command in sent:
            run_control.wait(folder, command, max(0.0, deadline - time.monotonic()))
        post(StopsAcknowledged())

    in_background("stop all", work)


def _send(run: RunSummary, command: CommandName, arguments: dict[str, Any] | None) -> NoticePosted:
    folder = RunFolder(run.path)
    started = time.monotonic()
    try:
        event = run_control.wait(folder, run_control.send(folder, command, arguments), WAIT_SECONDS)
    except UserError as error:
        return NoticePosted(str(error), "warning")
    if event is None:
        return NoticePosted(
            f"{run.name} has not acknowledged {command} within {formats.duration(WAIT_SECONDS)}; "
            "it executes the command after its current step",
            "warning",
        )
    return _acknowledgement(event, command, time.monotonic() - started)


def _acknowledgement(event: Event, command: CommandName, seconds: float) -> NoticePosted:
    message = event.message or f"{command} done at step {formats.count(event.step)}"
    accepted = event.detail.get("accepted", True)
    took = formats.milliseconds(1000 * seconds)
    return NoticePosted(f"{message} ({took})", "information" if accepted else "warning")
