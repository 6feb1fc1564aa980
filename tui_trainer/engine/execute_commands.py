"""Executes the commands in `control.jsonl` and acknowledges each."""

from __future__ import annotations

import time
from typing import get_args

from tui_trainer.contracts.advice import AdviceKind
from tui_trainer.contracts.runs.run import Command, StateName
from tui_trainer.engine.advice import apply, observe, request_rollback
from tui_trainer.engine.checkpoints import checkpoint, rollback
from tui_trainer.engine.checkpoints.disk_space import NoRoomError
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state import learning_rate
from tui_trainer.engine.state.session import Session
from tui_trainer.store.runs.command_arguments import shown, usable_rate
from tui_trainer.text import formats
from tui_trainer.text.formats import count

# Seconds between looks for commands while paused, and between writes of state.json.
PAUSED_POLL_SECONDS = 0.05
PAUSED_BEAT_SECONDS = 1.0


def may_have_commands(session: Session) -> bool:
    """Return whether there may be commands to execute before this step."""
    replays = session.rates_to_replay or session.mutes_to_replay
    return bool(replays) or session.control.is_due()


def execute_commands(session: Session) -> StateName | None:
    """Execute every waiting command; while paused, wait here for more.

    Returns the state to end in after stop or cancel, else None.
    """
    _replay(session)
    paused = False
    beat = time.monotonic()
    while True:
        commands = session.control.new_commands()
        _report_bad_lines(session)
        for number, command in enumerate(commands, start=1):
            step_records.flush(session)
            if command.command == "pause":
                paused = _pause(session, command, paused)
            elif command.command == "resume":
                paused = _resume(session, command, paused)
            elif command.command == "checkpoint":
                _checkpoint(session, command, paused)
            elif command.command == "set-lr":
                _set_learning_rate(session, command)
            elif command.command == "apply":
                _apply(session, command)
            elif command.command == "rollback":
                _roll_back(session, command)
            elif command.command == "mute":
                _mute(session, command)
            elif command.command == "skip-evaluation":
                _refuse_skip(session, command)
            else:
                ending = _end(session, command)
                if ending is not None:
                    session.control.put_back(commands[number:])
                    return ending
        if not paused:
            return None
        if time.monotonic() - beat >= PAUSED_BEAT_SECONDS:
            session.report.write_state()
            beat = time.monotonic()
        time.sleep(PAUSED_POLL_SECONDS)


def execute_before_the_end(session: Session) -> StateName | None:
    """Execute the waiting commands where one asks for a rollback, which the loop then makes instead
    of ending by itself; else leave them to `refuse_unexecuted`. Returns as `execute_commands`."""
    if session.control.next_of("rollback") is None:
        return None
    return execute_commands(session)


def refuse_unexecuted(session: Session) -> None:
    """Refuse the commands that arrived too late, after training has ended."""
    message = f"not executed: training has ended at step {count(session.state.step)}"
    for command in session.control.new_commands():
        acknowledge(session, command, message, accepted=False)
    _report_bad_lines(session)


def _replay(session: Session) -> None:
    """Repeat the user's changes of rate and advice at this step from before the run was killed."""
    step = session.state.step
    for change in session.rates_to_replay.pop(step, ()):
        learning_rate.repeat_change(session, change)
    if session.mutes_to_replay and session.mutes_to_replay[0][0] <= step:
        step_records.flush(session)
        for _, kind in [mute for mute in session.mutes_to_replay if mute[0] <= step]:
            observe.mute(session, kind)
        session.mutes_to_replay = [mute for mute in session.mutes_to_replay if mute[0] > step]


def _report_bad_lines(session: Session) -> None:
    """Log lines that are not commands. A line with an id is refused, since its sender waits for an
    answer."""
    for line in session.control.new_bad_lines():
        step_records.flush(session)
        step = session.state.step
        if line.id is None:
            session.report.event("warning", step, line.message)
        else:
            detail = {"command": line.command, "accepted": False}
            session.report.event("command", step, line.message, id=line.id, detail=detail)


def refuse_lapsed(session: Session) -> None:
    """Refuse the commands that an earlier engine did not execute before it ended."""
    for command in session.control.lapsed:
        acknowledge(
            session, command, "the engine ended before it could execute the command", accepted=False
        )


def acknowledge(
    session: Session, command: Command, message: str, *, accepted: bool = True, **detail: str
) -> None:
    """Write the event that answers a command; `detail` goes into it."""
    session.report.event(
        "command",
        session.state.step,
        message,
        id=command.id,
        detail={"command": command.command, "accepted": accepted, **detail},
    )


def _pause(session: Session, command: Command, paused: bool) -> bool:
    if paused:
        acknowledge(session, command, f"already paused at step {count(session.state.step)}")
        return True
    session.report.stop_clock()
    message = f"paused at step {count(session.state.step)}"
    session.report.set_state("paused", message)
    acknowledge(session, command, message)
    return True


def _resume(session: Session, command: Command, paused: bool) -> bool:
    if not paused:
        acknowledge(session, command, "not paused: training continues")
        return False
    session.report.start_clock()
    session.report.set_state("training")
    acknowledge(session, command, f"training resumed after step {count(session.state.step)}")
    return False


def _checkpoint(session: Session, command: Command, paused: bool) -> None:
    refusal = None
    try:
        path = checkpoint.save(session)
    except NoRoomError as error:
        refusal = str(error)
    session.report.set_state(
        "paused" if paused else "training",
        f"paused at step {count(session.state.step)}" if paused else "",
    )
    if refusal is not None:
        acknowledge(session, command, refusal, accepted=False)
    else:
        acknowledge(session, command, f"checkpoint {path.name} saved")


def _set_learning_rate(session: Session, command: Command) -> None:
    given = command.arguments.get("learning_rate")
    rate = usable_rate(given)
    if rate is None:
        refusal = f"learning rate {shown(given)} is not a number above 0"
        acknowledge(session, command, refusal, accepted=False)
        return
    # The event comes before the answer, so that an acknowledged rate is applied again by a resume.
    learning_rate.set_rate(session, rate)
    step = session.state.step
    acknowledge(
        session, command, f"learning rate {formats.rate(rate)} from step {count(step + 1)} on"
    )


def _apply(session: Session, command: Command) -> None:
    id = command.arguments.get("advice")
    if _refuse_id(session, command, id):
        return
    advice = request_rollback.newest(session, id)
    if advice is None:
        refusal = (
            "no open advice suggests a learning rate"
            if id is None
            else f"advice {shown(id)} is no longer open"
        )
        acknowledge(session, command, refusal, accepted=False)
        return
    refused = apply.apply(session, advice, "user")
    if refused is not None:
        acknowledge(session, command, refused, accepted=False)
        return
    kind = advice.kind.replace("_", " ")
    acknowledge(session, command, f"{kind}: advice {advice.id} applied")


def _roll_back(session: Session, command: Command) -> None:
    """Request a rollback, which the loop makes before the next step."""
    id = command.arguments.get("advice")
    if _refuse_id(session, command, id):
        return
    advice = request_rollback.newest_with_rollback(session, id)
    refusal = (
        "no open advice to roll back for" if id is None else f"advice {shown(id)} is no longer open"
    )
    refused = refusal if advice is None else request_rollback.request(session, advice, "user")
    if refused is not None or session.pending_rollback is None:
        acknowledge(session, command, refused or refusal, accepted=False)
        return
    point = session.pending_rollback
    rate = "another learning rate"
    if point.until is not None:
        rate = f"a lower learning rate up to step {count(point.until)}"
    message = f"rolling back to {point.checkpoint.name}, then training with {rate}"
    acknowledge(session, command, message)


def _refuse_id(session: Session, command: Command, id: object) -> bool:
    """Refuse an advice id that is not a string; return whether it was refused."""
    if id is None or isinstance(id, str):
        return False
    acknowledge(session, command, f"{shown(id)} is not an advice id", accepted=False)
    return True


def _mute(session: Session, command: Command) -> None:
    kind = command.arguments.get("kind")
    if not isinstance(kind, str) or kind not in get_args(AdviceKind):
        known = ", ".join(get_args(AdviceKind))
        acknowledge(
            session,
            command,
            f"unknown kind of advice {shown(kind)}; one of: {known}",
            accepted=False,
        )
        return
    observe.mute(session, kind)
    message = f"no more advice on {kind.replace('_', ' ')} in this run"
    acknowledge(session, command, message, kind=kind)


def _refuse_skip(session: Session, command: Command) -> None:
    """Refuse to cancel an evaluation where none runs."""
    acknowledge(session, command, "no evaluation is running", accepted=False)


def _end(session: Session, command: Command) -> StateName | None:
    """Stop or cancel; return the state to end in. A stop that cannot save returns None: the run
    continues, and only cancel ends it without saving. A rollback that was accepted before is made
    by a stop, so that it resumes from there."""
    if command.command == "stop":
        rollback.roll_back(session)
        try:
            checkpoint.save(session)
        except NoRoomError as error:
            acknowledge(session, command, f"{error}, or cancel the run", accepted=False)
            return None
        acknowledge(session, command, f"saved at step {count(session.state.step)}; stopping")
        session.stopped_and_saved = True
    else:
        session.writer.wait()
        message = f"cancelled at step {count(session.state.step)}"
        if session.pending_rollback is not None:
            point = session.pending_rollback.checkpoint.name
            message += f"; it was not rolled back to {point} any more"
        acknowledge(session, command, message)
    return "cancelled"
