"""Checkpoints: everything that a run needs to resume bit for bit, in one folder with a manifest."""

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
from tui_trainer.engine.checkpoints import best, disk_space
from tui_trainer.engine.records import step_records
from tui_trainer.engine.state.session import Session, TrainerState
from tui_trainer.models import lora_train
from tui_trainer.store import atomic
from tui_trainer.store.runs import checkpoints
from tui_trainer.store.runs.checkpoint_scores import TRAINER
from tui_trainer.text import formats

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"
# A problem is detected within `_DETECTED_WITHIN` steps; of these, one checkpoint in every
# `_KEPT_EVERY` steps is kept for a rollback.
_DETECTED_WITHIN, _KEPT_EVERY = 64, 32
MOST_SPARED = _DETECTED_WITHIN // _KEPT_EVERY + 2


@dataclass(frozen=True)
class Snapshot:
    """A copy of the content of a checkpoint, which training does not change."""

    step: int  # finished steps
    is_best: bool  # whether the best evaluation was at this step
    adapter: lora_train.SavedAdapter
    optimizer: dict[str, torch.Tensor]  # by `{parameter}/{key}`
    random: dict[str, torch.Tensor]  # random states, by device type
    trainer: bytes  # `TrainerState` as JSON
    good: tuple[int, ...] = ()  # the last step before each open problem


def save(session: Session, *, wait: bool = True) -> Path:
    """Copy the state and write `checkpoints/step-…`: temporary folder, manifest last, rename;
    then prune.

    Without `wait` a thread writes, and training continues once the copy is made; the next save
    waits for it. An existing checkpoint of this step is kept, as it has the same content. Where the
    disk has no room, less important checkpoints are deleted; where that does not help, none is
    written and one warning is logged, or with `wait` `NoRoomError` is raised.
    """
    run, state = session.folder, session.state
    session.writer.wait()
    target = run.checkpoints_dir / checkpoints.checkpoint_name(state.step)
    if target.exists():
        if checkpoints.problem(target) is None:
            if state.best is not None and state.best.step == state.step:
                best.point(session, state.step)
            return target
        checkpoints.discard(target)
    checkpoints.clear_leftovers(run.checkpoints_dir)
    reason = disk_space.refusal(
        session, _kept_steps(session, state.step, observe.good_steps(session))
    )
    disk_space.log_room(session, reason)
    if reason is not None:
        if wait:
            raise disk_space.NoRoomError(f"{target.name} is not saved: {reason}")
        return target
    started = time.monotonic()
    if wait:
        session.report.set_state("saving", f"saving {target.name}")
    snapshot = take_snapshot(session)
    stalled = time.monotonic() - started
    session.writer.start(lambda: _write(session, snapshot, target, started, stalled))
    if wait:
        session.writer.wait()
        if session.disk_is_full and not target.exists():
            raise disk_space.NoRoomError(
                f"{target.name} is not saved: the disk is full; free some space"
            )
    return target


def take_snapshot(session: Session) -> Snapshot:
    """Copy the content of a checkpoint; training waits only for this."""
    state = session.state
    state.elapsed_seconds = session.report.elapsed()
    step_records.flush(session)
    observe.remember(session)
    if session.scaler.is_enabled():
        scale = session.scaler.state_dict()
        state.scale = (float(scale["scale"]), int(scale["_growth_tracker"]))
    return Snapshot(
        state.step,
        state.best is not None and state.best.step == state.step,
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
            f"checkpoint {folder.name} was saved with {formats.count(state.examples)} training "
            f"examples, now there are {formats.count(len(session.dataset.train))}: the data has "
            "changed since the run started; put the files back, or start a new run"
        )
    same_processes = state.processes == session.ranks.process.size
    if not same_processes:
        _warn_of_processes(session, state)
    weights, optimizer = load_file(folder / lora_train.WEIGHTS), load_file(folder / OPTIMIZER)
    random = load_file(folder / RANDOM)
    restore(session, state, weights, optimizer)
    states = random if same_processes else {}
    session.ranks.load(msgspec.json.encode(state), weights, optimizer, states)
    set_random_state(session.device, random)


def load_weights(session: Session, folder: Path) -> None:
    """Load only the adapter's weights of a checkpoint."""
    lora_train.load_weights(session.model, load_file(folder / lora_train.WEIGHTS))


def restore(
    session: Session,
    state: TrainerState,
    weights: dict[str, torch.Tensor],
    optimizer: dict[str, torch.Tensor],
) -> None:
    """Restore everything but random states from the contents of a checkpoint's files."""
    torch.set_num_threads(state.threads)  # the order of sums depends on it
    lora_train.load_weights(session.model, weights)
    session.optimizer.state.clear()  # removes keys that are not in the checkpoint
    optimizer_module.load_state_tensors(session.optimizer, session.parameters, optimizer)
    if session.scaler.is_enabled() and state.scale is not None:
        scale, grown = state.scale
        values = session.scaler.state_dict()
        session.scaler.load_state_dict({**values, "scale": scale, "_growth_tracker": grown})
    session.state = state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Return this process's random states, by device type."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def set_random_state(device: torch.device, states: dict[str, torch.Tensor]) -> None:
    """Restore the result of `random_state`."""
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)


def _warn_of_processes(session: Session, state: TrainerState) -> None:
    """Warn that results are not bit-exact with another number of processes than before."""
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
    session: Session, snapshot: Snapshot, target: Path, started: float, stalled: float
) -> None:
    """Write the checkpoint. Runs in the writer's thread and reads nothing that training changes."""
    run = session.folder
    temporary = run.checkpoints_dir / f".{target.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        _fill(temporary, snapshot)
    except Exception as error:
        shutil.rmtree(temporary, ignore_errors=True)
        if not disk_space.is_full(error):
            raise
        disk_space.log_room(session, "the disk became full while it was written; free some space")
        return
    temporary.rename(target)
    atomic.sync_dir(run.checkpoints_dir)
    if snapshot.is_best:
        best.point(session, snapshot.step)
    spared = _kept_steps(session, snapshot.step, snapshot.good)
    checkpoints.prune(run, session.job.training.keep_checkpoints, spared)
    seconds = time.monotonic() - started
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
    """Return the steps whose checkpoints are kept for a rollback: the newest before each open
    problem (`good_steps`); with auto-apply also some before a problem that is not detected yet."""
    steps = [s for s, _ in checkpoints.list_checkpoints(session.folder) if s <= step]
    kept = {max(before) for good in good_steps if (before := [s for s in steps if s <= good])}
    if not session.advisor_settings.auto_apply:
        return kept
    since = max(step - _DETECTED_WITHIN, 0)
    older = [s for s in steps if s <= since]
    newer = {s // _KEPT_EVERY: s for s in reversed(steps) if s > since}
    return {*kept, *older[-1:], *newer.values()}


def _fill(temporary: Path, snapshot: Snapshot) -> None:
    """Write a checkpoint's files into a temporary folder."""
    temporary.mkdir(parents=True, mode=0o700)
    lora_train.write_adapter(snapshot.adapter, temporary)
    save_file(snapshot.optimizer, temporary / OPTIMIZER)
    save_file(snapshot.random, temporary / RANDOM)
    (temporary / TRAINER).write_bytes(snapshot.trainer)
    checkpoints.seal(temporary, snapshot.step)


def newest_name(session: Session) -> str | None:
    """Return the newest checkpoint's name; None where there is none."""
    found = checkpoints.list_checkpoints(session.folder)
    return found[-1][1].name if found else None
