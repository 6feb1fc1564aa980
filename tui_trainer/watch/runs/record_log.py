"""Logs of typed records: the newest events, and hardware samples thinned with age."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, reason_of
from tui_trainer.store import jsonl
from tui_trainer.watch.tables.tail import Tail

T = TypeVar("T")


class RecordLog(Generic[T]):
    """The newest records of an append-only file of JSON lines, read as it grows.

    Args:
        path: the file.
        kind: the type of the records.
        keep: the number of records to keep.
        thin: keep records from the whole file, older ones more sparsely, instead of the newest.
    """

    def __init__(self, path: Path, kind: type[T], keep: int, *, thin: bool = False) -> None:
        self._tail = Tail(path)
        self._decoder = msgspec.json.Decoder(kind)
        self._most = keep
        self._kept: deque[T] = deque(maxlen=None if thin else keep)
        self._frozen: tuple[T, ...] = ()
        self.unreadable = 0
        self.first_unreadable = 0
        self.reason = ""  # why the first unreadable line cannot be read
        self.total = 0
        self._lines = 0

    @property
    def path(self) -> Path:
        return self._tail.path

    @property
    def records(self) -> tuple[T, ...]:
        """The records that are kept, oldest first."""
        return self._frozen

    @property
    def forgotten(self) -> int:
        """Records that are no longer kept."""
        return self.total - len(self._frozen)

    def read(self) -> bool:
        """Reads what is new; whether there was anything. Raises `OSError`."""
        changed = False
        while True:
            chunk = self._tail.poll()
            if chunk.restarted:
                self._kept.clear()
                self.total = self.unreadable = self._lines = 0
                changed = True
            for line in jsonl.split_lines(chunk.data):
                changed = True
                self._add(self._lines + line.number, line.data)
            self._lines += chunk.data.count(b"\n")
            if not chunk.more:
                break
        if changed:
            self._frozen = tuple(self._kept)
        return changed

    def _add(self, number: int, line: bytes) -> None:
        try:
            self._kept.append(self._decoder.decode(line))
            self.total += 1
            if len(self._kept) > self._most:
                kept = list(self._kept)
                half = len(kept) // 2
                self._kept = deque((*kept[:half:2], *kept[half:]))
        except BAD_CONTENT as error:
            self.unreadable += 1
            if self.unreadable == 1:
                self.first_unreadable, self.reason = number, reason_of(error)
