"""The operating system's notices of file changes, through watchdog."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Called with a path and whether an entry was created, deleted or renamed (else: written to).
OnEvent = Callable[[Path, bool], None]


class FileEvents:
    """Watches folders, not recursively. No method raises: where the system gives no notices,
    `problem` has a message, and the caller has to rely on polling."""

    def __init__(self, on_event: OnEvent) -> None:
        self._on_event = on_event
        self._observer: Any = None
        self._watches: dict[Path, tuple[int, Any]] = {}  # with the folder's inode
        self._failed: set[Path] = set()
        self.problem: str | None = None

    def start(self) -> None:
        """Starts watchdog's thread."""
        try:
            from watchdog.observers import Observer  # picks the system's own mechanism

            self._observer = Observer()
            self._observer.start()
        except Exception as error:
            self._observer = None
            self._fall_back(error)

    def stop(self) -> None:
        """Ends watchdog's threads."""
        if self._observer is not None:
            with contextlib.suppress(Exception):
                self._observer.stop()
                self._observer.join(timeout=5)
            self._observer = None

    def watch(self, folders: set[Path]) -> None:
        """Watches exactly these folders from now on."""
        if self._observer is None:
            return
        present = {folder: inode for folder in folders if (inode := _inode(folder)) is not None}
        for folder, (inode, watch) in list(self._watches.items()):
            if present.get(folder) != inode:  # no longer wanted, or created again
                with contextlib.suppress(Exception):  # the watch of a deleted folder is gone
                    self._observer.unschedule(watch)
                del self._watches[folder]
        self._failed &= folders
        for folder in present.keys() - self._watches.keys() - self._failed:
            try:
                self._watches[folder] = present[folder], self._schedule(folder)
            except FileNotFoundError:
                continue  # deleted meanwhile; the next round tries again
            except Exception as error:
                self._failed.add(folder)
                self._fall_back(error)

    def _schedule(self, folder: Path) -> Any:
        from watchdog import events

        class Handler(events.FileSystemEventHandler):
            def on_any_event(handler, event: events.FileSystemEvent) -> None:  # noqa: N805
                self._forward(event)

        # Without a filter, reading the files would itself cause events ("opened", "closed").
        kinds: list[type[events.FileSystemEvent]] = [
            events.FileModifiedEvent,
            events.FileCreatedEvent,
            events.FileMovedEvent,
            events.FileDeletedEvent,
            events.DirCreatedEvent,
            events.DirMovedEvent,
            events.DirDeletedEvent,
        ]
        return self._observer.schedule(Handler(), str(folder), recursive=False, event_filter=kinds)

    def _forward(self, event: Any) -> None:
        written = event.event_type == "modified"
        for path in {os.fsdecode(event.src_path), os.fsdecode(event.dest_path or b"")} - {""}:
            self._on_event(Path(path), not written)

    def _fall_back(self, error: Exception) -> None:
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        self.problem = f"the system gives no notice of file changes ({reason}); files are polled"


def _inode(folder: Path) -> int | None:
    try:
        return folder.stat().st_ino
    except OSError:
        return None
