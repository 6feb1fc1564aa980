"""Doing what `control.jsonl` says, and saying that it was done."""

from __future__ import annotations

import math
import time

from tui_trainer.contracts.run import Command, StateName
from tui_trainer.engine import checkpoint
from tui_trainer.engine.session import Session

# How often a paused run looks for commands, and shows that it lives.
PAUSED_POLL_SECONDS = 0.05
PAUSED_BEAT_SECONDS = 1.0


def obey(session: Session) -> StateName | None:
    """Obeys every waiting command; while paused, waits here for more.

    Gives the state to end in after stop or cancel, else None.
    """
    _replay(session)
    paused = False
    beat = time.monotonic()
    while True:
        for command in session.control.take():
            if command.command == "pause":
                paused = _pause(session, command, paused)
            elif command.command == "resume":
                paused = _resume(session, command, paused)
            elif command.command == "checkpoint":
                _checkpoint(session, command, paused)
            elif command.command == "set-lr":
                _set_learning_rate(session, command)
            else:
                return _end(session, command)
        if not paused:
            return None
        if time.monotonic() - beat >= PAUSED_BEAT_SECONDS:
            session.report.write_state()
            beat = time.monotonic()
        time.sleep(PAUSED_POLL_SECONDS)


def _replay(session: Session) -> None:
    """A rate that the user set at this step before the run was killed."""
    rate = session.rates_to_replay.pop(session.state.step, None)
    if rate is not None:
        session.state.learning_rate_override = (session.state.step, rate)


def refuse_lapsed(session: Session) -> None:
    """Answers commands whose engine was gone before it could obey."""
    for command in session.control.lapsed:
        acknowledge(session, command, "the engine had ended before it could obey", accepted=False)


def acknowledge(session: Session, command: Command, message: str, *, accepted: bool = True) -> None:
    """Writes the event that answers a command."""
    session.report.event(
        "command",
        session.state.step,
        message,
        id=command.id,
        detail={"command": command.command, "accepted": accepted},
    )


def _pause(session: Session, command: Command, paused: bool) -> bool:
    if paused:
        acknowledge(session, command, f"already paused at step {session.state.step}")
        return True
    session.report.stop_clock()
    session.report.state("paused", f"paused at step {session.state.step}")
    acknowledge(session, command, f"paused at step {session.state.step}")
    return True


def _resume(session: Session, command: Command, paused: bool) -> bool:
    if not paused:
        acknowledge(session, command, "not paused: training goes on")
        return False
    session.report.start_clock()
    session.report.state("training")
    acknowledge(session, command, f"training again after step {session.state.step}")
    return False


def _checkpoint(session: Session, command: Command, paused: bool) -> None:
    path = checkpoint.save(session)
    session.report.state(
        "paused" if paused else "training",
        f"paused at step {session.state.step}" if paused else "",
    )
    acknowledge(session, command, f"checkpoint {path.name} is saved")


def _set_learning_rate(session: Session, command: Command) -> None:
    rate = command.arguments.get("learning_rate")
    if not isinstance(rate, int | float) or not math.isfinite(rate) or rate <= 0:
        acknowledge(
            session, command, f"learning rate {rate!r} is not a number above 0", accepted=False
        )
        return
    step = session.state.step
    session.state.learning_rate_override = (step, float(rate))
    # First the fact, then the answer: an acknowledged rate is one that a resume applies again.
    session.report.event(
        "learning_rate", step, f"learning rate set to {rate:.4g}", detail={"learning_rate": rate}
    )
    acknowledge(session, command, f"learning rate {rate:.4g} from step {step + 1} on")


def _end(session: Session, command: Command) -> StateName:
    if command.command == "stop":
        checkpoint.save(session)
        acknowledge(session, command, f"saved at step {session.state.step}; stopping")
        session.stopped_and_saved = True
    else:
        session.writer.wait()
        acknowledge(session, command, f"cancelled at step {session.state.step}")
    return "cancelled"
