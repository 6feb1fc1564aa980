"""Adapters on disk: one folder each, which of them answer, and a trash."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tui_trainer.contracts.adapter import AdapterInfo
from tui_trainer.contracts.errors import UserError
from tui_trainer.store import atomic, paths, toml
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.active_adapters import ActiveChoice, without
from tui_trainer.store.file_lock import locked

_TRASH = ".trash"
_INCOMING = ".incoming-"
_DELETED = re.compile(r"(?P<name>[^.]+)\.(?P<time>\d+\.\d+)\.[0-9a-f]{4}")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,5})")
_LONGEST = 90  # characters of a stem that gets a number


class AdapterEntry(NamedTuple):
    """An adapter with its size in bytes and how many questions it has answered."""

    info: AdapterInfo
    size: int
    queries: int


class TrashedAdapter(NamedTuple):
    """A deleted adapter: `key` is unique in the trash, `deleted_at` seconds since the epoch."""

    key: str
    name: str
    deleted_at: float


class AdapterStore:
    """The user's adapters, each a folder in PEFT's format with our `adapter.json`.

    A folder comes and goes by a rename, so that none is ever seen half; several processes may
    work on it. What is named `.something` is the store's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.root = folder if folder is not None else paths.home() / "adapters"

    def list(self) -> Sequence[AdapterEntry]:
        """Every adapter, oldest first; also one whose files are damaged (see `problem`)."""
        found = []
        with contextlib.suppress(OSError):
            for folder in self.root.iterdir():
                info = None if folder.name.startswith(".") else files.read_info(folder)
                if info is not None:
                    found.append(AdapterEntry(info, files.size(folder), files.queries(folder)))
        return sorted(found, key=lambda item: (item.info.created_at, item.info.name))

    def get(self, name: str) -> AdapterInfo:
        """One adapter's facts. Raises `UserError` that names the nearest where there is none."""
        info = files.read_info(self.root / name) if _is_name(name) else None
        if info is not None:
            return info
        known = [item.info.name for item in self.list()]
        guess = toml.nearest(name, known)
        if guess:
            raise UserError(f"there is no adapter {name!r}; did you mean {guess!r}?")
        there = f"there are: {', '.join(known[-8:])}" if known else "there are none yet"
        raise UserError(f"there is no adapter {name!r}; {there}")

    def folder(self, name: str) -> Path:
        """Where an adapter lies. Raises `UserError` where there is none."""
        return self.root / self.get(name).name

    def problem(self, name: str) -> str | None:
        """What keeps the adapter from being used, or None. Reads all of it: its checksums are
        compared. Raises `UserError` where there is none."""
        return files.problem(self.folder(name))

    def free_name(self, stem: str) -> str:
        """A name that is not taken: `stem`, today's date and a number."""
        day = time.strftime("%Y%m%d")
        number = 1
        while (self.root / f"{stem}-{day}-{number}").exists():
            number += 1
        return f"{stem}-{day}-{number}"

    def add(self, source: Path, info: AdapterInfo, *, number_on: bool = False) -> Path:
        """Copies the adapter in `source` under `info.name` and gives its folder.

        The hashes in `info.files` are computed here. With `number_on` a name that is taken is
        numbered on instead of refused: `path.name` tells which it became. Raises `UserError`
        for a bad or taken name and for files that are no whole adapter.
        """
        name = check_name(info.name)
        with self._changing():
            if number_on:
                name = self._next_free(name)
            elif (self.root / name).exists():
                raise UserError(f"there is already an adapter {name!r}")
            incoming = self.root / f"{_INCOMING}{secrets.token_hex(4)}"
            try:
                files.copy_in(source, incoming, msgspec.structs.replace(info, name=name))
                self._move(incoming, self.root / name)
            except BaseException:
                shutil.rmtree(incoming, ignore_errors=True)
                raise
        return self.root / name

    def rename(self, old: str, new: str) -> None:
        """Gives an adapter another name; what refers to it here follows. Raises `UserError`."""
        check_name(new)
        with self._changing():
            info = self.get(old)
            if (self.root / new).exists():
                raise UserError(f"there is already an adapter {new!r}")
            with self._live().renaming(old, new):
                self._move(self.root / old, self.root / new)
            files.write_info(self.root / new, msgspec.structs.replace(info, name=new))
            for item in self.list():
                if item.info.parent == old:
                    child = msgspec.structs.replace(item.info, parent=new)
                    files.write_info(self.root / child.name, child)

    def delete(self, name: str) -> None:
        """Moves an adapter to the trash; it no longer answers. Raises `UserError`."""
        with self._changing():
            self.get(name)
            trash = paths.make_private_dir(self.root / _TRASH)
            stamp = f"{time.time():.3f}.{secrets.token_hex(2)}"
            self._move(self.root / name, trash / f"{name}.{stamp}")
            self._live().forget(name)

    def trash(self) -> Sequence[TrashedAdapter]:
        """What was deleted and can be restored, newest first."""
        found = []
        with contextlib.suppress(OSError):
            for folder in (self.root / _TRASH).iterdir():
                match = _DELETED.fullmatch(folder.name)
                if match:
                    found.append(TrashedAdapter(folder.name, match["name"], float(match["time"])))
        return sorted(found, key=lambda item: -item.deleted_at)

    def restore(self, reference: str) -> str:
        """Takes the newest deleted adapter of that name (or the one with that key) back.

        Gives its name, which is numbered on where it is taken by now. Raises `UserError`.
        """
        with self._changing():
            deleted = self.trash()
            for item in deleted:
                if reference in (item.key, item.name):
                    name = self._next_free(item.name)
                    self._move(self.root / _TRASH / item.key, self.root / name)
                    return name
        names = ", ".join(dict.fromkeys(item.name for item in deleted))
        there = f"it holds: {names}" if names else "it is empty"
        raise UserError(f"there is no adapter {reference!r} in the trash; {there}")

    def purge(self) -> int:
        """Deletes what is in the trash for good; gives how many."""
        with self._changing():
            deleted = self.trash()
            for item in deleted:
                shutil.rmtree(self.root / _TRASH / item.key)
        return len(deleted)

    def count_query(self, name: str) -> None:
        """Notes that an adapter answered one more question; one that is gone is passed over."""
        with self._changing():
            if _is_name(name) and (self.root / name).is_dir():
                files.count_query(self.root / name)

    def live(self, base: str = "builtin") -> dict[str, float]:
        """Which adapters answer on that base, with their weights: none, one, or an ensemble.

        `base` is the base model's name as in a job. What is gone is left out; the only one left
        of an ensemble answers in full.
        """
        chosen = self._live().read().get(base, {})
        return without(chosen, {name for name in chosen if not self._exists(name)})

    def set_live(self, weights: dict[str, float], base: str = "builtin") -> None:
        """Chooses which adapters answer on that base; survives restarts.

        Raises `UserError` for an adapter that is not there or was made for another base.
        """
        with self._changing():
            for name in weights:
                made_for = self.get(name).base_model
                if made_for != base:
                    raise UserError(f"adapter {name!r} was made for {made_for}, not for {base}")
            self._live().write(base, weights)

    def settle_live(self, base: str = "builtin") -> Sequence[str]:
        """Takes adapters that are gone or broken out of what is live on that base.

        Gives a sentence for each; having been told, they are not told again.
        """
        with self._changing():
            chosen = self._live().read().get(base, {})
            told = {name: wrong for name in chosen if (wrong := self._gone_or_broken(name))}
            if told:
                self._live().write(base, without(chosen, told))
        return [f"adapter {name!r} no longer answers: {wrong}" for name, wrong in told.items()]

    def _gone_or_broken(self, name: str) -> str | None:
        return files.problem(self.root / name) if self._exists(name) else "it is gone"

    def _exists(self, name: str) -> bool:
        return _is_name(name) and (self.root / name / files.INFO).is_file()

    def _live(self) -> ActiveChoice:
        return ActiveChoice(self.root)

    def _next_free(self, name: str) -> str:
        match = _NUMBERED.fullmatch(name)
        stem, number = (match["stem"], int(match["number"])) if match else (name, 1)
        while (self.root / name).exists():
            number += 1
            name = f"{stem[:_LONGEST]}-{number}"
        return name

    def _move(self, source: Path, target: Path) -> None:
        source.rename(target)
        atomic.sync_dir(source.parent)
        atomic.sync_dir(target.parent)

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Excludes other processes, and clears what a killed one left."""
        try:
            paths.make_private_dir(self.root)
            with locked(self.root / ".lock"):
                for leftover in self.root.glob(f"{_INCOMING}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                yield
        except OSError as error:
            raise UserError(f"{self.root} cannot be changed: {error.strerror}", 1) from None


def check_name(name: str) -> str:
    """`name`, if an adapter can have it. Raises `UserError`: it must be a folder's name, and
    PEFT takes no dots."""
    paths.safe_name(name, "adapter name")
    if "." in name:
        raise UserError(f"an adapter's name cannot have a dot: {name!r}; use '-' or '_'")
    return name


def _is_name(name: str) -> bool:
    with contextlib.suppress(UserError):
        return bool(check_name(name))
    return False
