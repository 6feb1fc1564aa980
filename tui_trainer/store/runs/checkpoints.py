"""Checkpoints on disk: manifests, verification, selection, deletion."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Collection
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.store import atomic
from tui_trainer.store.regular_files import open_regular, read_regular
from tui_trainer.store.runs.run_folder import RunFolder

MANIFEST = "manifest.json"
_NAME = re.compile(r"step-([0-9]{8,18})")
_LONGEST_NAME = 4096
START = "start"  # in place of a checkpoint's name: from step 0
SUPERSEDED = "superseded"  # folder of checkpoints that a rollback has replaced


class FileEntry(msgspec.Struct, frozen=True):
    """A file of a checkpoint."""

    bytes: int  # size of the file
    sha256: str  # of its content


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`, written last: a folder without it is not a checkpoint."""

    schema: int = 1  # version of the file's format
    step: int  # optimizer steps finished
    files: dict[str, FileEntry]  # by name


def checkpoint_name(step: int) -> str:
    """The folder's name, such as step-00000050."""
    return f"step-{step:08d}"


def step_of(folder: Path) -> int | None:
    """The finished steps that a checkpoint's folder name has; None for another folder."""
    match = _NAME.fullmatch(folder.name)
    return None if match is None else int(match[1])


def seal(folder: Path, step: int) -> None:
    """Flush every file in `folder` to the disk and then write the manifest."""
    files = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        atomic.sync_file(file)
        files[file.name] = _entry(file)
    atomic.write_json(folder / MANIFEST, Manifest(step=step, files=files))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None if it is missing or damaged."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        return msgspec.json.decode(read_regular(folder / MANIFEST), type=Manifest)
    return None


def problem(folder: Path) -> str | None:
    """Why a checkpoint cannot be used, part of a sentence; None if every byte is as saved."""
    manifest = read_manifest(folder)
    if manifest is None:
        return f"its {MANIFEST} cannot be read"
    for name, entry in manifest.files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _entry(file) != entry:
            return f"{name} has changed since it was saved"
    return None


def list_checkpoints(run: RunFolder) -> list[tuple[int, Path]]:
    """(step, folder) of every checkpoint that has its manifest, oldest first."""
    found = []
    with contextlib.suppress(OSError):
        for folder in run.checkpoints_dir.iterdir():
            match = _NAME.fullmatch(folder.name)
            if match and (folder / MANIFEST).is_file():
                found.append((int(match[1]), folder))
    return sorted(found)


def find_checkpoint(run: RunFolder, name: str | None) -> Path | None:
    """The checkpoint to resume from: the named one, or the newest complete one.

    `name` is a folder's name, a step number, or `best`. Returns None for `START`, and without a
    name if there is no complete checkpoint. Raises `UserError` if the named one is missing or
    damaged.
    """
    if name == START:
        return None
    if name is None:
        return next((p for _, p in reversed(list_checkpoints(run)) if problem(p) is None), None)
    wanted = checkpoint_name(int(name)) if name.isdigit() else name
    for _, folder in list_checkpoints(run):
        if folder.name == wanted or (name == "best" and folder.name == best_name(run)):
            wrong = problem(folder)
            if wrong:
                raise UserError(f"checkpoint {folder.name} cannot be used: {wrong}")
            return folder
    names = ", ".join(p.name for _, p in list_checkpoints(run)) or "none"
    raise UserError(f"run {run.path.name} has no checkpoint {name!r}; it has: {names}")


def newest_up_to(run: RunFolder, step: int) -> Path | None:
    """The newest complete checkpoint of at most `step` finished steps, or None."""
    found = [path for at, path in list_checkpoints(run) if at <= step]
    return next((path for path in reversed(found) if problem(path) is None), None)


def best_name(run: RunFolder) -> str | None:
    """The name of the checkpoint that `checkpoints/best` refers to, or None."""
    link = run.checkpoints_dir / "best"
    with contextlib.suppress(OSError):
        if link.is_symlink():
            return link.readlink().name
        return read_regular(link, _LONGEST_NAME).decode("utf-8", "replace").strip()
    return None


def point_best(run: RunFolder, name: str) -> None:
    """Make `checkpoints/best` refer to the checkpoint `name`, atomically.

    It is a symbolic link, or a file with the name if the file system has no symbolic links.
    """
    link = run.checkpoints_dir / "best"
    temporary = run.checkpoints_dir / ".best.tmp"
    temporary.unlink(missing_ok=True)
    try:
        temporary.symlink_to(name)
    except OSError:
        atomic.write_bytes(link, name.encode())
        return
    temporary.replace(link)
    atomic.sync_dir(run.checkpoints_dir)


def forget_best(run: RunFolder) -> None:
    """Delete `checkpoints/best`, where no evaluation's weights are kept."""
    (run.checkpoints_dir / "best").unlink(missing_ok=True)


def run_of(folder: Path) -> RunFolder | None:
    """The run whose `adapter/` or checkpoint this folder is, or None."""
    real = folder.resolve()
    parent = real.parent
    if _NAME.fullmatch(real.name):
        parent = parent.parent if parent.name == SUPERSEDED else parent
        if parent.name != "checkpoints":
            return None
        parent = parent.parent
    elif real.name != "adapter":
        return None
    run = RunFolder(parent)
    return run if run.info() is not None else None


def prune(run: RunFolder, keep: int, spared: Collection[int] = ()) -> list[str]:
    """Delete all checkpoints but the newest `keep`, the best one, and those of the steps `spared`;
    returns the deleted names."""
    best = best_name(run)
    deleted = []
    for step, folder in list_checkpoints(run)[:-keep]:
        if folder.name != best and step not in spared:
            discard(folder)
            deleted.append(folder.name)
    return deleted


def expendable(run: RunFolder, spared: Collection[int] = ()) -> list[Path]:
    """The checkpoints that may be deleted when the disk is full, least important first: superseded
    ones, then the oldest. The newest complete one and later ones, the best one, and those of the
    steps `spared` are never among them."""
    newest, best = find_checkpoint(run, None), best_name(run)
    old = run.checkpoints_dir / SUPERSEDED
    superseded = sorted(p for p in old.iterdir() if _NAME.fullmatch(p.name)) if old.is_dir() else []
    if newest is None:
        return superseded
    known = [item for item in list_checkpoints(run) if item[1].name < newest.name]
    return superseded + [p for step, p in known if p.name != best and step not in spared]


def supersede_after(run: RunFolder, step: int) -> list[str]:
    """Move checkpoints later than `step` into `checkpoints/superseded/`; returns their names.

    Needed when a run resumes from an older checkpoint, so that a later resume does not use the
    replaced ones.
    """
    moved = []
    for at, folder in list_checkpoints(run):
        if at > step:
            superseded = run.checkpoints_dir / SUPERSEDED
            superseded.mkdir(exist_ok=True, mode=0o700)
            target = superseded / folder.name
            if target.exists():
                discard(target)
            folder.rename(target)
            moved.append(folder.name)
    return moved


def discard(folder: Path) -> None:
    """Delete a checkpoint, its manifest first, so that a partly deleted one is not a checkpoint."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Delete temporary files that a killed process left."""
    if folder.is_dir():
        for leftover in folder.glob(".*.tmp"):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def _entry(file: Path) -> FileEntry:
    with open_regular(file) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(bytes=file.stat().st_size, sha256=digest)
