"""Exporting an adapter from the store to a folder or an archive."""

from __future__ import annotations

import os
import secrets
import shutil
import tarfile
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import atomic, paths
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.adapters.adapter_store import AdapterStore

_ARCHIVES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz"}


def export_adapter(store: AdapterStore, name: str, target: Path) -> Path:
    """Copy an adapter to `target` and return the path that was written.

    A `target` that ends in .tar, .tar.gz or .tgz becomes an archive; into an existing folder the
    adapter's folder is copied. Nothing is overwritten, and no partial copy remains after an error.
    Raises `UserError`.
    """
    wrong = store.problem(name)
    if wrong:
        raise UserError(f"adapter {name!r} cannot be exported: {wrong}", 1)
    mode = next((_ARCHIVES[s] for s in _ARCHIVES if target.name.endswith(s)), None)
    if mode is None and target.is_dir():
        target = target / name
    if os.path.lexists(target):
        raise UserError(f"{target} already exists; give another path")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        paths.make_private_dir(target.parent)
        adapter_files.copy_out(store.folder(name), temporary)
        if mode is None:
            temporary.rename(target)
        else:
            _pack(temporary, name, target, mode)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}", 1) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _pack(folder: Path, name: str, target: Path, mode: str) -> None:
    packed = target.with_name(f"{folder.name}.tar")
    try:
        descriptor = os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, atomic.PRIVATE)
        with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
            archive.add(folder, arcname=name)
        packed.rename(target)
    finally:
        packed.unlink(missing_ok=True)
