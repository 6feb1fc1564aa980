"""Adapters on disk: one folder each, the active ones, and a trash."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store import atomic, paths
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.active_adapters import ActiveChoice, without
from tui_trainer.store.file_lock import locked
from tui_trainer.store.runs import evaluation_files
from tui_trainer.text import formats
from tui_trainer.text.similar import nearest

_TRASH = ".trash"
_INCOMING = ".incoming-"
_DELETED = re.compile(r"(?P<name>[^.]+)\.(?P<time>\d+\.\d+)\.[0-9a-f]{4}")
_NUMBERED = re.compile(r"(?P<stem>.+)-(?P<number>\d{1,5})")
_TAG = re.compile(r"[^\W_][\w./-]{0,49}")
_LONGEST = 90  # characters of a stem that gets a number


class AdapterEntry(NamedTuple):
    """An adapter in the store."""

    info: AdapterInfo  # content of its `adapter.json`
    size: int  # bytes
    queries: int  # questions that it has answered
    evaluations: tuple[EvaluationScores, ...] = ()  # on files, the newest first
    unreadable: tuple[str, ...] = ()  # names of files that cannot be read as evaluations


class TrashedAdapter(NamedTuple):
    """A deleted adapter."""

    key: str  # unique in the trash
    name: str  # of the adapter
    deleted_at: float  # seconds since the epoch


class AdapterStore:
    """The user's adapters, each a folder in PEFT's format with an `adapter.json`.

    Folders are added and removed by a rename, so that no partial one is visible; several processes
    may use the store. Names that start with a dot are the store's own.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.root = folder if folder is not None else paths.home() / "adapters"

    def list(self) -> Sequence[AdapterEntry]:
        """All adapters, oldest first, also damaged ones (see `problem`)."""
        found = []
        with contextlib.suppress(OSError):
            for folder in self.root.iterdir():
                info = None if folder.name.startswith(".") else files.read_info(folder)
                if info is not None:
                    found.append(self._entry(info))
        return sorted(found, key=lambda item: (item.info.created_at, item.info.name))

    def get(self, name: str) -> AdapterInfo:
        """Facts of one adapter. Raises `UserError`, with a similar name, if there is none."""
        info = files.read_info(self.root / name) if _is_name(name) else None
        if info is not None:
            return info
        known = [item.info.name for item in self.list()]
        guess = nearest(name, known)
        if guess:
            raise UserError(f"there is no adapter {name!r}; did you mean {guess!r}?")
        there = f"there are: {', '.join(known[-8:])}" if known else "there are none yet"
        raise UserError(f"there is no adapter {name!r}; {there}")

    def entry(self, name: str) -> AdapterEntry:
        """One adapter as in `list`. Raises `UserError` if there is none."""
        return self._entry(self.get(name))

    def folder(self, name: str) -> Path:
        """The adapter's folder. Raises `UserError` if there is none."""
        return self.root / self.get(name).name

    def problem(self, name: str) -> str | None:
        """Why the adapter cannot be used, or None. Reads all its files to compare checksums.
        Raises `UserError` if there is no such adapter."""
        return files.problem(self.folder(name))

    def usable_folder(self, name: str) -> Path:
        """The adapter's folder. Raises `UserError` where its files are missing or damaged."""
        problem = self.problem(name)
        if problem:
            raise UserError(f"adapter {name!r} cannot be used: {problem}", 1)
        return self.folder(name)

    def check_answers(self, name: str) -> None:
        """Raise `UserError` for a classifier, which cannot answer in the chat, and if there is no
        such adapter."""
        if self.get(name).task == "classification":
            raise UserError(
                f"adapter {name!r} is a classifier and does not answer in the chat; classify texts "
                f"with tui-trainer predict {name} FILE"
            )

    def edit(
        self,
        name: str,
        *,
        description: str | None = None,
        tag: Iterable[str] = (),
        untag: Iterable[str] = (),
    ) -> AdapterInfo:
        """Replace an adapter's description, add and remove tags; return its new facts.

        Raises `UserError`, also for a tag that is not valid or that it does not have.
        """
        added, removed = [check_tag(each) for each in tag], list(untag)
        with self._changing():
            info = self.get(name)
            missing = next((each for each in removed if each not in info.tags), None)
            if missing is not None:
                has = f"it has: {', '.join(info.tags)}" if info.tags else "it has no tags"
                raise UserError(f"adapter {name!r} has no tag {missing!r}; {has}")
            tags = [each for each in dict.fromkeys([*info.tags, *added]) if each not in removed]
            text = info.description if description is None else " ".join(description.split())
            info = msgspec.structs.replace(info, description=text, tags=tags)
            files.write_info(self.root / name, info)
        return info

    def free_name(self, stem: str) -> str:
        """A free name from `stem`, today's date and a number."""
        day = time.strftime("%Y%m%d")
        number = 1
        while (self.root / f"{stem}-{day}-{number}").exists():
            number += 1
        return f"{stem}-{day}-{number}"

    def add(
        self,
        source: Path,
        info: AdapterInfo,
        *,
        labels: Sequence[str] = (),
        add_number: bool = False,
    ) -> Path:
        """Copy the adapter in `source` into the store as `info.name` and return its folder.

        `labels` are the names of a classifier's classes, where `source` does not have them.
        The hashes in `info.files` are computed here. With `add_number` a taken name gets a number;
        the folder's name is then the adapter's. Raises `UserError` for an invalid or taken name,
        and for an adapter that cannot be used.
        """
        name = check_name(info.name)
        with self._changing():
            if add_number:
                name = self._next_free(name)
            elif (self.root / name).exists():
                raise UserError(f"there is already an adapter {name!r}; give another name")
            incoming = self.root / f"{_INCOMING}{secrets.token_hex(4)}"
            try:
                named = msgspec.structs.replace(info, name=name)
                files.copy_in(source, incoming, named, labels)
                self._move(incoming, self.root / name)
            except BaseException:
                shutil.rmtree(incoming, ignore_errors=True)
                raise
        return self.root / name

    def rename(self, old: str, new: str) -> None:
        """Rename an adapter, also in the list of active ones and as a parent. Raises
        `UserError`."""
        check_name(new)
        with self._changing():
            info = self.get(old)
            if (self.root / new).exists():
                raise UserError(f"there is already an adapter {new!r}; give another name")
            with self._live().renaming(old, new):
                self._move(self.root / old, self.root / new)
            files.write_info(self.root / new, msgspec.structs.replace(info, name=new))
            for item in self.list():
                if item.info.parent == old:
                    child = msgspec.structs.replace(item.info, parent=new)
                    files.write_info(self.root / child.name, child)

    def delete(self, name: str) -> None:
        """Move an adapter to the trash and deactivate it. Raises `UserError`."""
        with self._changing():
            self.get(name)
            trash = paths.make_private_dir(self.root / _TRASH)
            stamp = f"{time.time():.3f}.{secrets.token_hex(2)}"
            self._move(self.root / name, trash / f"{name}.{stamp}")
            self._live().forget(name)

    def trash(self) -> Sequence[TrashedAdapter]:
        """Deleted adapters that can be restored, newest first."""
        found = []
        with contextlib.suppress(OSError):
            for folder in (self.root / _TRASH).iterdir():
                match = _DELETED.fullmatch(folder.name)
                if match:
                    found.append(TrashedAdapter(folder.name, match["name"], float(match["time"])))
        return sorted(found, key=lambda item: -item.deleted_at)

    def restore(self, reference: str) -> str:
        """Restore the newest deleted adapter with this name, or the one with this key.

        Returns its name, which gets a number if it is taken. Raises `UserError`.
        """
        with self._changing():
            deleted = self.trash()
            for item in deleted:
                if reference in (item.key, item.name):
                    name = self._next_free(item.name)
                    self._move(self.root / _TRASH / item.key, self.root / name)
                    return name
        names = ", ".join(dict.fromkeys(item.name for item in deleted))
        contents = f"it has: {names}" if names else "it is empty"
        raise UserError(f"there is no adapter {reference!r} in the trash; {contents}")

    def purge(self) -> int:
        """Delete the adapters in the trash permanently; returns how many."""
        with self._changing():
            deleted = self.trash()
            for item in deleted:
                shutil.rmtree(self.root / _TRASH / item.key)
        return len(deleted)

    def count_query(self, name: str) -> None:
        """Count one more question answered by an adapter; does nothing if it is gone."""
        with self._changing():
            if _is_name(name) and (self.root / name).is_dir():
                files.count_query(self.root / name)

    def live(self, base: str = "builtin") -> dict[str, float]:
        """Weights of the active adapters of a base, by name: none, one, or several.

        `base` is the base model as in a job. Deleted adapters are left out; the only remaining
        one of several gets weight 1.
        """
        chosen = self._live().read().get(base, {})
        return without(chosen, {name for name in chosen if not self._exists(name)})

    def set_live(self, weights: dict[str, float], base: str = "builtin") -> None:
        """Activate adapters for a base; also after a restart.

        Raises `UserError` for an adapter that does not exist, is a classifier or belongs to another
        base.
        """
        with self._changing():
            for name in weights:
                self.check_answers(name)
                own_base = self.get(name).base_model
                if own_base != base:
                    raise UserError(
                        f"adapter {name!r} belongs to the base {own_base}, not to {base}"
                    )
            self._live().write(base, weights)

    def drop_missing_live(self, base: str = "builtin") -> Sequence[str]:
        """Deactivate the adapters of a base that are missing or damaged.

        Returns a sentence for each one, only at the first call.
        """
        with self._changing():
            chosen = self._live().read().get(base, {})
            unusable = {name: wrong for name in chosen if (wrong := self._live_problem(name))}
            if unusable:
                self._live().write(base, without(chosen, unusable))
        return [f"adapter {name!r} was deactivated: {wrong}" for name, wrong in unusable.items()]

    def _live_problem(self, name: str) -> str | None:
        if not self._exists(name):
            return "it does not exist"
        if files.task(self.root / name) == "classification":
            return "it is a classifier, which does not answer in the chat"
        return files.problem(self.root / name)

    def _entry(self, info: AdapterInfo) -> AdapterEntry:
        folder = self.root / info.name
        measured = evaluation_files.read_folder(folder / evaluation_files.FOLDER)
        return AdapterEntry(info, files.size(folder), files.queries(folder), *measured)

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
        """Exclude other processes, and delete the leftovers of a killed one."""
        try:
            paths.make_private_dir(self.root)
            with locked(self.root / ".lock"):
                for leftover in self.root.glob(f"{_INCOMING}*"):
                    shutil.rmtree(leftover, ignore_errors=True)
                yield
        except OSError as error:
            raise UserError(f"{self.root} cannot be changed: {error.strerror}", 1) from None


def check_name(name: str) -> str:
    """Return `name` if it can be an adapter's, else raise `UserError`: it must be a valid folder
    name without dots, which PEFT does not support."""
    paths.safe_name(name, "adapter name")
    if "." in name:
        raise UserError(f"adapter name {name!r} has a dot: use '-' or '_'")
    return name


def check_tag(tag: str) -> str:
    """Return `tag` if it can be one, else raise `UserError`: filters must find it as one word."""
    if not _TAG.fullmatch(tag):
        raise UserError(
            f"{formats.clean(tag)!r} cannot be a tag; use letters, digits, '-', '_', '.' and '/'"
        )
    return tag


def _is_name(name: str) -> bool:
    with contextlib.suppress(UserError):
        return bool(check_name(name))
    return False
