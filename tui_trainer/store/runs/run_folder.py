"""Run folders: creating, finding and reading them."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import socket
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError, reason_of
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import DataReport
from tui_trainer.contracts.runs.metrics import EvaluationFile, GradientCheck
from tui_trainer.contracts.runs.run import (
    ACTIVE_STATES,
    ENDED_STATES,
    Command,
    Event,
    LoopInfo,
    RunBasics,
    RunInfo,
    RunState,
)
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.store import atomic, jobs, jsonl, model_files, paths
from tui_trainer.store.data_sources import hub_dataset
from tui_trainer.store.model_files import ModelFiles
from tui_trainer.store.regular_files import open_regular, read_regular, without_mark
from tui_trainer.store.runs import disk_reserve, process_identity
from tui_trainer.store.runs.run_paths import RunPaths

T = TypeVar("T")

# A run on another host whose state was not updated for this long is `stale`.
STALE_SECONDS = 120.0
_PACKAGES = ("tui-trainer", "torch", "transformers", "peft", "safetensors", "numpy")


class RunFolder(RunPaths):
    """The files of one run. Reading a missing or damaged file returns None, or an empty list."""

    def info(self) -> RunInfo | None:
        """`run.json` of a run that the engine trains; None for another program's."""
        return _read_info(self.info_file, RunInfo)

    def loop_info(self) -> LoopInfo | None:
        """`run.json` of a run that another program trains (`RunWriter`), or None."""
        return _read_info(self.info_file, LoopInfo)

    def basics(self) -> RunBasics | None:
        """The fields of `run.json` that both kinds of runs have, or None."""
        return _read_info(self.info_file, RunBasics)

    def state(self) -> RunState | None:
        """`state.json` as written, or None. `status` also checks the process."""
        return _read(self.state_file, RunState)

    def data(self) -> DataReport | None:
        """`data.json`, the report on the data, or None."""
        return _read(self.data_file, DataReport)

    def evaluation(self) -> EvaluationFile | None:
        """`evaluation.json` of a classification, or None."""
        return _read(self.evaluation_file, EvaluationFile)

    def gradients(self) -> GradientCheck | None:
        """`gradients.json`, the last measurement of the gradients, or None."""
        return _read(self.gradients_file, GradientCheck)

    def samples(self) -> list[SampleRecord]:
        """Every readable line of `samples.jsonl`, also those of steps that were undone."""
        return _read_lines(self.samples_file, SampleRecord)

    def events(self) -> list[Event]:
        """Every readable line of `events.jsonl`."""
        return _read_lines(self.events_file, Event)

    def commands(self) -> list[Command]:
        """Every readable line of `control.jsonl`."""
        return _read_lines(self.control_file, Command)

    def status(self) -> str:
        """The run's present status: a state's name, or `crashed`, `unknown` or `stale`."""
        status = status_of(self.state())
        # Read again: the engine may have written its last state and ended in between.
        return status_of(self.state()) if status == "crashed" else status

    def log_tail(self, lines: int = 10) -> list[str]:
        """The last lines that the engine printed."""
        try:
            with open_regular(self.log_file) as file:
                file.seek(max(0, self.log_file.stat().st_size - 16_384))
                text = file.read().decode("utf-8", "replace")
        except OSError:
            return []
        return [line for line in text.splitlines() if line.strip()][-lines:]


def status_of(state: RunState | None) -> str:
    """The state's name, or `crashed` if the state is active and its process is gone.

    The process of another host or container cannot be checked: an active run whose state was not
    updated for `STALE_SECONDS` is `stale`.
    """
    if state is None:
        return "unknown"
    if state.state not in ACTIVE_STATES:
        return state.state
    if not process_identity.is_here(state):
        silent = time.time() - state.updated_at
        return "stale" if silent > STALE_SECONDS else state.state
    return state.state if process_identity.is_alive(state) else "crashed"


def create_run(runs_dir: Path, job: Job, name: str | None = None) -> RunFolder:
    """Create a run folder for a checked job and write `run.json` and the first state.

    Reads the data files and a local base to hash them, which may take long. Raises `UserError`,
    also for a base whose files are not complete.
    """
    label = paths.safe_name(name or job.name, "run name")
    base = paths.builtin_model() if job.model == "builtin" else Path(job.model)
    files = model_files.inspect_whole(base) if base.is_dir() else None
    hashes = hash_files(jobs.data_files(job))
    folder = _new_folder(runs_dir, label)
    info = _info(folder.path.name, label, job, base, files, hashes)
    message = "waiting for the engine"
    _write_first(folder, info, RunState(state="idle", updated_at=time.time(), message=message))
    return folder


def create_loop_run(
    runs_dir: Path, name: str, program: str, config: dict[str, Any], state: RunState
) -> RunFolder:
    """Create a run folder for another program's training loop and write `run.json` and `state`.

    `config` has plain values only. Raises `UserError`, also for a name that cannot be a folder's.
    """
    label = paths.safe_name(name, "run name")
    folder = _new_folder(runs_dir, label)
    info = LoopInfo(
        id=folder.path.name,
        name=label,
        created_at=time.time(),
        versions=_versions(),
        host=socket.gethostname(),
        program=program,
        config=config,
    )
    _write_first(folder, info, state)
    return folder


def _new_folder(runs_dir: Path, label: str) -> RunFolder:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = RunFolder(runs_dir / f"{label}-{stamp}-{os.urandom(2).hex()}")
    try:
        paths.make_private_dir(runs_dir)
        folder.path.mkdir(mode=0o700)
    except OSError as error:
        raise UserError(f"cannot create a run folder in {runs_dir}: {error.strerror}") from None
    return folder


def _write_first(folder: RunFolder, info: RunBasics, state: RunState) -> None:
    """Write the first files of a new run folder, or delete it. Raises `UserError`."""
    try:
        atomic.write_json(folder.info_file, info)
        write_state(folder, state)
    except OSError as error:
        shutil.rmtree(folder.path, ignore_errors=True)
        hint = "; free some space, or choose another folder" if atomic.is_full(error) else ""
        raise UserError(
            f"cannot create a run folder in {folder.path.parent}: {error.strerror}{hint}", 1
        ) from None


def write_state(folder: RunFolder, state: RunState) -> None:
    """Replace `state.json`, also on a full disk.

    A final state releases the reserved space and uses it if the disk is full. If that does not
    suffice, the file is overwritten in place.
    """
    durable, last = state.state not in ACTIVE_STATES, state.state in ENDED_STATES
    try:
        atomic.write_json(folder.state_file, state, durable=durable)
    except OSError as error:
        if not atomic.is_full(error):
            raise
        try:
            if not (last and disk_reserve.release(folder.path)):
                raise
            atomic.write_json(folder.state_file, state, durable=durable)
        except OSError:
            if not folder.state_file.exists():
                raise
            atomic.write_json_in_place(folder.state_file, state)
    if last:
        disk_reserve.release(folder.path)


def list_runs(runs_dir: Path) -> list[RunFolder]:
    """The run folders directly in `runs_dir`, the newest first by creation."""
    try:
        folders = [RunFolder(p) for p in runs_dir.iterdir() if (p / "run.json").is_file()]
    except OSError:
        return []
    created = {f.path: (i.created_at if (i := f.basics()) else 0.0) for f in folders}
    return sorted(folders, key=lambda f: (created[f.path], f.path.name), reverse=True)


def find_run(reference: str, runs_dir: Path) -> RunFolder:
    """The run with this folder, or with this id or name in `runs_dir`.

    If several have the name, the newest one. Raises `UserError`.
    """
    as_path = Path(reference).expanduser()
    if (as_path / "run.json").is_file():
        return RunFolder(as_path)
    if os.sep not in reference and (runs_dir / reference / "run.json").is_file():
        return RunFolder(runs_dir / reference)
    runs = list_runs(runs_dir)
    for folder in runs:
        info = folder.basics()
        if info is not None and info.name == reference:
            return folder
    if as_path.is_dir():
        raise UserError(f"{as_path} is not a run folder: it has no run.json")
    if not runs:
        raise UserError(f"no run {reference!r}: {runs_dir} has no runs; see --runs-dir")
    names = ", ".join(folder.path.name for folder in runs[:5])
    raise UserError(f"no run {reference!r} in {runs_dir}; the newest there: {names}")


def hash_files(files: list[Path]) -> tuple[str, dict[str, str]]:
    """One SHA-256 over the contents of all files, in order, and that of each file, by path. Of a
    data set of the hub the id is hashed; `DataReport.fingerprint` is of its rows, too. Raises
    `UserError`."""
    each = {}
    whole = hashlib.sha256()
    for file in files:
        if hub_dataset(file) is not None:
            digest = hashlib.sha256(str(file).encode()).hexdigest()
        else:
            try:
                with file.open("rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
            except OSError as error:
                raise UserError(f"{file} cannot be read: {reason_of(error)}") from None
        each[str(file)] = digest
        whole.update(digest.encode())
    return whole.hexdigest(), each


def _info(
    run_id: str,
    name: str,
    job: Job,
    base: Path,
    files: ModelFiles | None,
    hashes: tuple[str, dict[str, str]],
) -> RunInfo:
    """`run.json` of a job. `files` is the content of the base's folder; None if it is not local;
    `hashes` are those of the data files."""
    data_hash, data_files = hashes
    return RunInfo(
        id=run_id,
        name=name,
        created_at=time.time(),
        job=job,
        base_model=job.model,
        base_path=None if files is None else str(base),
        base_hash=None if files is None else files.hash,
        base_not_finite=None if files is None else list(files.not_finite),
        data_hash=data_hash,
        data_files=data_files,
        versions=_versions(),
        host=socket.gethostname(),
        seed=job.training.seed,
    )


def _versions() -> dict[str, str]:
    import importlib.metadata  # slow, and not needed by the monitor
    import platform

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def why_unreadable(file: Path, kind: type[Any]) -> str | None:
    """Why a file cannot be read as JSON of this type, in one line; None if it can."""
    try:
        msgspec.json.decode(without_mark(read_regular(file)), type=kind)
    except (OSError, *BAD_CONTENT) as error:
        return reason_of(error)
    return None


def _read(file: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(without_mark(read_regular(file)), type=kind)
    except (OSError, *BAD_CONTENT):
        return None


def _read_info(file: Path, kind: type[T]) -> T | None:
    """As `_read`, for `run.json`, which is written once and read by many callers."""
    try:
        status = file.stat()
        version = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
        return msgspec.json.decode(_info_content(file, version), type=kind)
    except (OSError, *BAD_CONTENT):
        return None


@lru_cache(maxsize=256)
def _info_content(file: Path, version: tuple[int, ...]) -> bytes:
    """The content of a `run.json`; `version` changes when the file is replaced."""
    return without_mark(read_regular(file))


def _read_lines(file: Path, kind: type[T]) -> list[T]:
    try:
        return jsonl.read_records(file, kind).records
    except OSError:
        return []
