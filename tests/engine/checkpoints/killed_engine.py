"""`python -m tests.engine.checkpoints.killed_engine RUN_DIR PLACE`: the engine, killed at PLACE.

A real SIGKILL: nothing is flushed, nothing is cleaned up.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from typing import Any


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def at(owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """Kill the process at the `call`-th call of a function, before it or after it."""
    original: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def watched(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call and not after:
            die()
        value = original(*arguments, **named)
        if calls == call:
            die()
        return value

    setattr(owner, name, watched)


def while_evaluating() -> None:
    from tui_trainer.engine.state.session import Session

    original, calls = Session.collate, 0

    def watched(session: Session, examples: Any) -> Any:
        nonlocal calls
        calls += not session.model.training
        if calls == 3:
            die()
        return original(session, examples)

    setattr(Session, "collate", watched)  # noqa: B010  (a method, to the type checker)


def while_paused() -> None:
    """Kill the process while it is paused between two steps."""
    from tui_trainer.contracts.runs.run import Command
    from tui_trainer.engine.state.command_source import CommandSource

    original, calls = CommandSource.new_commands, 0

    def watched(control: CommandSource) -> list[Command]:
        nonlocal calls
        calls += 1
        if calls == 14:
            die()
        more = [Command(id="pause", time=0.0, command="pause")] if calls == 12 else []
        return original(control) + more

    setattr(CommandSource, "new_commands", watched)  # noqa: B010


def points() -> dict[str, Callable[[], None]]:
    from tui_trainer.engine import loop, save_adapter
    from tui_trainer.engine.checkpoints import checkpoint
    from tui_trainer.engine.records import step_records
    from tui_trainer.store import atomic
    from tui_trainer.store.runs import checkpoints

    return {
        "inside accumulation": lambda: at(loop, "weighted_sum", 14),
        "between gradients and update": lambda: at(loop, "update", 5),
        "updated but not written down": lambda: at(step_records, "step_record", 8),
        "while evaluating": while_evaluating,
        "evaluated but not saved": lambda: at(checkpoint, "save", 2),
        "while the copy is made": lambda: at(checkpoint, "take_snapshot", 2),
        "while tensors are written": lambda: at(checkpoint, "save_file", 3),
        "before the manifest": lambda: at(checkpoints, "seal", 2),
        "after the manifest": lambda: at(checkpoints, "seal", 2, after=True),
        "before the best is pointed at": lambda: at(checkpoints, "point_best", 1),
        "while old ones are dropped": lambda: at(checkpoints, "discard", 1),
        "while the folder is made safe": lambda: at(atomic, "sync_dir", 3),
        "while the adapter is written": lambda: at(save_adapter, "export_adapter", 1),
        "while paused": while_paused,
    }


if __name__ == "__main__":
    from tui_trainer.engine import setup
    from tui_trainer.engine.__main__ import main
    from tui_trainer.engine.state import command_source

    setup.usable_threads = lambda: 1
    command_source.POLL_SECONDS = 0.0
    points()[sys.argv[2]]()
    sys.exit(main([sys.argv[1]]))
