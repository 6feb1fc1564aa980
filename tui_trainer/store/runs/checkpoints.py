"""Checkpoints on disk: manifests, which are whole, which are kept."""

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
START = "start"  # in place of a checkpoint's name: step 0 again
SUPERSEDED = "superseded"


class FileEntry(msgspec.Struct, frozen=True):
    """A file's size in bytes and its SHA-256."""

    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`, written last: a checkpoint without it does not exist."""

    schema: int = 1
    step: int
    files: dict[str, FileEntry]


def checkpoint_name(step: int) -> str:
    """The folder's name, such as step-00000050."""
    return f"step-{step:08d}"


def seal(folder: Path, step: int) -> None:
    """Flushes every file in `folder` and writes the manifest, last."""
    files = {}
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        atomic.sync_file(file)
        files[file.name] = _entry(file)
    atomic.write_json(folder / MANIFEST, Manifest(step=step, files=files))


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest, or None where it is absent or broken."""
    with contextlib.suppress(OSError, *BAD_CONTENT):
        return msgspec.json.decode(read_regular(folder / MANIFEST), type=Manifest)
    return None


def problem(folder: Path) -> str | None:
    """What is wrong with a checkpoint, in words, or None where every byte is as it was."""
    manifest = read_manifest(folder)
    if manifest is None:
        return "it has no readable manifest"
    for name, entry in manifest.files.items():
        file = folder / name
        if not file.is_file():
            return f"{name} is missing"
        if _entry(file) != entry:
            return f"{name} is not what was saved"
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
    """The checkpoint to go on from: the named one, or the newest whole one.

    `name` is a folder's name, a step's number, or `best`; `START` gives None, as where there is
    no checkpoint yet. Raises `UserError` where the named one is absent or damaged; without a
    name damaged ones are passed over.
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
    """The newest whole checkpoint that was saved after at most `step` steps."""
    found = [path for at, path in list_checkpoints(run) if at <= step]
    return next((path for path in reversed(found) if problem(path) is None), None)


def best_name(run: RunFolder) -> str | None:
    """The name of the checkpoint that `checkpoints/best` points at."""
    link = run.checkpoints_dir / "best"
    with contextlib.suppress(OSError):
        if link.is_symlink():
            return link.readlink().name
        return read_regular(link, _LONGEST_NAME).decode("utf-8", "replace").strip()
    return None


def point_best(run: RunFolder, name: str) -> None:
    """Lets `checkpoints/best` point at `name`, atomically.

    A file that holds the name stands in where the file system has no symbolic links.
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


def prune(run: RunFolder, keep: int, spared: Collection[int] = ()) -> list[str]:
    """Deletes all but the newest `keep` checkpoints, the best, and those of the steps `spared`;
    gives the deleted names."""
    best = best_name(run)
    deleted = []
    for step, folder in list_checkpoints(run)[:-keep]:
        if folder.name != best and step not in spared:
            discard(folder)
            deleted.append(folder.name)
    return deleted


def expendable(run: RunFolder, spared: Collection[int] = ()) -> list[Path]:
    """The checkpoints that may go where the disk is full, first those that matter least: what a
    rewind has left behind, then the oldest. Never the newest whole one or a later one, nor the
    best, nor those of the steps `spared`."""
    newest, best = find_checkpoint(run, None), best_name(run)
    aside = run.checkpoints_dir / SUPERSEDED
    left = sorted(p for p in aside.iterdir() if _NAME.fullmatch(p.name)) if aside.is_dir() else []
    if newest is None:
        return left
    known = [item for item in list_checkpoints(run) if item[1].name < newest.name]
    return left + [p for step, p in known if p.name != best and step not in spared]


def set_aside_after(run: RunFolder, step: int) -> list[str]:
    """Moves checkpoints later than `step` into `checkpoints/superseded/`; gives their names.

    Needed where a run goes on from an older checkpoint: a later resume must not take up the
    branch that was left.
    """
    moved = []
    for at, folder in list_checkpoints(run):
        if at > step:
            aside = run.checkpoints_dir / SUPERSEDED
            aside.mkdir(exist_ok=True, mode=0o700)
            target = aside / folder.name
            if target.exists():
                discard(target)
            folder.rename(target)
            moved.append(folder.name)
    return moved


def discard(folder: Path) -> None:
    """Deletes a checkpoint; its manifest goes first, so that a half-deleted one is none."""
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)


def clear_leftovers(folder: Path) -> None:
    """Deletes what a kill left under a temporary name."""
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
