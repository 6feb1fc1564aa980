"""Removing the folder of a run that was refused before anything was trained."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.store import file_lock
from tui_trainer.store.runs import disk_reserve
from tui_trainer.store.runs.run_folder import RunFolder


def is_untrained(folder: RunFolder) -> bool:
    """Whether the folder has only what an engine writes before its first step, and no engine uses
    it. Anything else in it, such as a note of the user, may be wanted."""
    known = {
        folder.info_file,
        folder.state_file,
        folder.events_file,
        folder.control_file,
        folder.hardware_file,
        folder.notices_file,
        folder.log_file,
        folder.lock_file,
        folder.path / disk_reserve.NAME,
    }
    info = folder.info()
    if info is not None and info.job.data.cache:
        known.add(folder.augmented_file)  # the cache has the same rows
    found = [path for path in folder.path.iterdir() if path not in known and not _is_empty(path)]
    return not found and not file_lock.is_held(folder.lock_file)


def _is_empty(path: Path) -> bool:
    return not any(path.iterdir()) if path.is_dir() else not path.stat().st_size


def replace(folder: RunFolder, new: RunFolder) -> None:
    """Remove the folder for `new`, the same run with other settings, which gets the rows that a
    model wrote. Raises `UserError` where it cannot be deleted."""
    with contextlib.suppress(OSError):  # there are none, or they are written again
        folder.augmented_file.replace(new.augmented_file)
    remove(folder)


def remove(folder: RunFolder) -> bool:
    """Delete the folder if nothing was trained in it; return whether it is gone. Raises
    `UserError` where it cannot be deleted."""
    try:
        if not folder.path.exists():
            return True
        if not is_untrained(folder):
            return False
        shutil.rmtree(folder.path)
    except OSError as error:
        raise UserError(
            f"{reason_of(error)}: the refused run cannot be deleted; delete {folder.path}", 1
        ) from None
    return True
