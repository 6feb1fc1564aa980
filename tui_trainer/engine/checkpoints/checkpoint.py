"""Checkpoints: all that a run needs to resume bit for bit, in one sealed folder."""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine import optimizer as optimizer_module
from tui_trainer.engine.advice import observe
from tui_trainer.engine.checkpoints import disk_space
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.session import Session, TrainerState
from tui_trainer.models import lora_train
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints
from tui_trainer.text import formats

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"
TRAINER = "trainer.json"
# A problem shows within `_BACK` steps; of those, one checkpoint in `_APART` steps is kept.
_BACK, _APART = 64, 32
MOST_SPARED = _BACK // _APART + 2


@dataclass(frozen=True)
class Snapshot:
    """A copy of all that a checkpoint holds; training does not change it."""

    step: int
    best: bool
    adapter: lora_train.SavedAdapter
    optimizer: dict[str, torch.Tensor]
    random: dict[str, torch.Tensor]
    trainer: bytes
    good: tuple[int, ...] = ()  # the last step before each open problem


def save(session: Session, *, wait: bool = True) -> Path:
    """Copy the state and write `checkpoints/step-…`: temporary folder, manifest last, rename;
    then prune.

    Without `wait` a thread writes, and training resumes as soon as the copy is made; the next save
    waits for it. An existing checkpoint is kept: the same step holds the same bits. Where the disk
    has no room, checkpoints that matter less are deleted; where that does not help, none is
    written and one warning is logged; with `wait` raises `NoRoomError`.
    """
    run, state = session.folder, session.state
    session.writer.wait()
    target = run.checkpoints_dir / checkpoints.checkpoint_name(state.step)
    if target.exists():
        if checkpoints.problem(target) is None:
            return target
        checkpoints.discard(target)
    checkpoints.clear_leftovers(run.checkpoints_dir)
    reason = disk_space.refusal(
        session, _kept_steps(session, state.step, observe.good_steps(session))
    )
    disk_space.note(session, reason)
    if reason is not None:
        if wait:
            raise disk_space.NoRoomError(f"{target.name} is not saved: {reason}")
        return target
    began = time.monotonic()
    if wait:
        session.report.state("saving", f"saving {target.name}")
    snapshot = take_snapshot(session)
    stalled = time.monotonic() - began
    session.writer.start(lambda: _write(session, snapshot, target, began, stalled))
    if wait:
        session.writer.wait()
        if session.without_room and not target.exists():
            raise disk_space.NoRoomError(
                f"{target.name} is not saved: the disk is full; free some space"
            )
    return target


def take_snapshot(session: Session) -> Snapshot:
    """Copy what a checkpoint holds; training waits for this only."""
    state = session.state
    state.elapsed_seconds = session.report.elapsed()
    step_records.settle(session)
    observe.remember(session)
    if session.scaler.is_enabled():
        scale = session.scaler.state_dict()
        state.scale = (float(scale["scale"]), int(scale["_growth_tracker"]))
    return Snapshot(
        state.step,
        state.best_step == state.step,
        lora_train.copy_adapter(session.model, session.base_reference),
        optimizer_module.state_tensors(session.optimizer, session.parameters),
        session.ranks.random_states(random_state(session.device)),
        msgspec.json.encode(state),
        observe.good_steps(session),
    )


def load(session: Session, folder: Path) -> None:
    """Restore adapter, optimizer, random states and position from a checkpoint.

    Raises `UserError` where it was saved for another job.
    """
    state = msgspec.json.decode((folder / TRAINER).read_bytes(), type=TrainerState)
    if state.examples != len(session.dataset.train):
        raise UserError(
            f"checkpoint {folder.name} was saved with {state.examples} training examples, now "
            f"there are {len(session.dataset.train)}: the data has changed since the run started; "
            "put the files back, or start a new run"
        )
    alike = state.processes == session.ranks.process.size
    if not alike:
        _warn_of_processes(session, state)
    weights, optimizer = load_file(folder / lora_train.WEIGHTS), load_file(folder / OPTIMIZER)
    random = load_file(folder / RANDOM)
    put(session, state, weights, optimizer)
    session.ranks.load(msgspec.json.encode(state), weights, optimizer, random if alike else {})
    set_random_state(session.device, random)


def put(
    session: Session,
    state: TrainerState,
    weights: dict[str, torch.Tensor],
    optimizer: dict[str, torch.Tensor],
) -> None:
    """Restore all but random states from the contents of a checkpoint's files."""
    torch.set_num_threads(state.threads)  # sums in another order would not be bit-exact
    lora_train.load_weights(session.model, weights)
    session.optimizer.state.clear()  # what the checkpoint lacks starts anew
    optimizer_module.load_state_tensors(session.optimizer, session.parameters, optimizer)
    if session.scaler.is_enabled() and state.scale is not None:
        scale, grown = state.scale
        values = session.scaler.state_dict()
        session.scaler.load_state_dict({**values, "scale": scale, "_growth_tracker": grown})
    session.state = state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """This process's random states, by device type."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: dict[str, torch.Tensor]) -> None:
    """The inverse of `random_state`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _warn_of_processes(session: Session, state: TrainerState) -> None:
    """Warn that another number of processes than before gives other bits."""
    former, state.processes = state.processes, session.ranks.process.size
    state.threads = torch.get_num_threads()
    processes = formats.plural(former, "training process", "training processes")
    session.report.event(
        "warning",
        state.step,
        f"the checkpoint was saved by {processes} and is resumed with {state.processes}: the steps "
        "stay the same, but not bit for bit (dropout and the order of sums differ)",
    )


def _write(
    session: Session, snapshot: Snapshot, target: Path, began: float, stalled: float
) -> None:
    """Write the checkpoint; runs in the writer's thread and reads nothing that training changes."""
    run = session.folder
    temporary = run.checkpoints_dir / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _fill(temporary, snapshot)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not disk_space.is_full(error):
            raise
        disk_space.note(session, "the disk became full while it was written; free some space")
        return
    temporary.rename(target)
    atomic.sync_dir(run.checkpoints_dir)
    if snapshot.best:
        try:
            checkpoints.point_best(run, target.name)
        except OSError as error:
            if not disk_space.is_full(error):
                raise
            message = f"the disk is full: the link `best` could not be moved to {target.name}"
            session.report.event("warning", snapshot.step, message)
    spared = _kept_steps(session, snapshot.step, snapshot.good)
    checkpoints.prune(run, session.job.training.keep_checkpoints, spared)
    seconds = time.monotonic() - began
    size = sum(file.stat().st_size for file in target.iterdir())
    session.report.event(
        "checkpoint",
        snapshot.step,
        f"checkpoint {target.name} saved: {formats.size(size)} in "
        f"{formats.milliseconds(1000 * seconds)}, training paused for "
        f"{formats.milliseconds(1000 * stalled)}",
        detail={
            "path": str(target),
            "bytes": size,
            "seconds": round(seconds, 4),
            "stalled": round(stalled, 4),
        },
    )


def _kept_steps(session: Session, step: int, good_steps: Collection[int]) -> set[int]:
    """Steps whose checkpoints are kept for a rollback: the newest from before each open problem
    (`good_steps`); with auto-apply also some from before a problem that shows later."""
    steps = [at for at, _ in checkpoints.list_checkpoints(session.folder) if at <= step]
    kept = {max(before) for good in good_steps if (before := [at for at in steps if at <= good])}
    if not session.advisor_settings.auto_apply:
        return kept
    since = max(step - _BACK, 0)
    old = [at for at in steps if at <= since]
    young = {at // _APART: at for at in reversed(steps) if at > since}
    return {*kept, *old[-1:], *young.values()}


def _fill(temporary: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint's files into a temporary folder."""
    temporary.mkdir(parents=True, mode=0o700)
    lora_train.write_adapter(snapshot.adapter, temporary)
    save_file(snapshot.optimizer, temporary / OPTIMIZER)
    save_file(snapshot.random, temporary / RANDOM)
    (temporary / TRAINER).write_bytes(snapshot.trainer)
    checkpoints.seal(temporary, snapshot.step)


def newest_name(session: Session) -> str | None:
    """The newest checkpoint's name."""
    found = checkpoints.list_checkpoints(session.folder)
    return found[-1][1].name if found else None
