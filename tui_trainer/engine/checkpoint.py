"""Everything a run needs to go on bit for bit, in one sealed folder."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import msgspec
import torch
from safetensors.torch import load_file, save_file

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine import optim
from tui_trainer.engine.session import Session, TrainerState
from tui_trainer.models import adapter
from tui_trainer.store import atomic, checkpoints

OPTIMIZER = "optimizer.safetensors"
RANDOM = "random.safetensors"
TRAINER = "trainer.json"


def save(session: Session) -> Path:
    """Writes `checkpoints/step-…`: temporary folder, manifest last, rename; then prunes.

    One that is there already is kept: the same step holds the same bits.
    """
    run, state = session.folder, session.state
    name = checkpoints.checkpoint_name(state.step)
    target = run.checkpoints_dir / name
    if target.exists():
        if checkpoints.problem(target) is None:
            return target
        checkpoints.discard(target)
    began = time.monotonic()
    session.report.state("saving", f"saving {name}")
    temporary = run.checkpoints_dir / f".{name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True, mode=0o700)
    _write(session, temporary)
    checkpoints.seal(temporary, state.step)
    temporary.rename(target)
    atomic.sync_dir(run.checkpoints_dir)
    if state.best_step == state.step:
        checkpoints.point_best(run, name)
    checkpoints.prune(run, session.job.training.keep_checkpoints)
    _announce(session, target, time.monotonic() - began)
    return target


def load(session: Session, folder: Path) -> None:
    """Puts a checkpoint's adapter, optimizer, random state and position into the session.

    Raises `UserError` where it was saved for another job.
    """
    state = msgspec.json.decode((folder / TRAINER).read_bytes(), type=TrainerState)
    if state.examples != len(session.dataset.train):
        raise UserError(
            f"checkpoint {folder.name} was saved with {state.examples} training examples, now "
            f"there are {len(session.dataset.train)}: the data changed since the run began"
        )
    torch.set_num_threads(state.threads)  # sums in another order would not be bit-exact
    adapter.load_weights(session.model, load_file(folder / adapter.WEIGHTS))
    optim.load_state_tensors(session.optimizer, session.parameters, load_file(folder / OPTIMIZER))
    random = load_file(folder / RANDOM)
    torch.set_rng_state(random["cpu"])
    if session.device.type == "cuda" and "cuda" in random:
        torch.cuda.set_rng_state(random["cuda"], session.device)
    session.state = state


def _write(session: Session, folder: Path) -> None:
    adapter.save_adapter(session.model, folder, session.base_reference)
    save_file(optim.state_tensors(session.optimizer, session.parameters), folder / OPTIMIZER)
    random = {"cpu": torch.get_rng_state()}
    if session.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(session.device)
    save_file(random, folder / RANDOM)
    session.state.elapsed_seconds = session.report.elapsed()
    (folder / TRAINER).write_bytes(msgspec.json.encode(session.state))


def _announce(session: Session, target: Path, seconds: float) -> None:
    size = sum(file.stat().st_size for file in target.iterdir())
    session.report.event(
        "checkpoint",
        session.state.step,
        f"checkpoint {target.name} saved, {size / 1e6:.1f} MB in {seconds * 1000:.0f} ms",
        detail={"path": str(target), "bytes": size, "seconds": round(seconds, 4)},
    )


def newest_name(session: Session) -> str | None:
    """The newest checkpoint's name."""
    found = checkpoints.list_checkpoints(session.folder)
    return found[-1][1].name if found else None
