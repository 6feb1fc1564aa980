"""Reading `control.jsonl` as it grows, for whoever obeys it."""

from __future__ import annotations

import contextlib
import os

import msgspec

from tui_trainer.contracts.run import Command
from tui_trainer.store.runs import RunFolder


class Inbox:
    """New commands of a run, each once; one `stat` a look while nobody speaks.

    Commands that an earlier process acknowledged by an event are passed over; those that it left
    unanswered are `lapsed`: what was meant for it must not stop its successor.
    """

    def __init__(self, folder: RunFolder) -> None:
        self._file = folder.control_file
        self._path = str(self._file)
        self._offset = 0
        earlier = folder.events()
        self._done = {event.id for event in earlier if event.id is not None}
        self._decoder = msgspec.json.Decoder(Command)
        self.lapsed = self.read() if earlier else []

    def read(self) -> list[Command]:
        """Commands appended since the last look, in order. Never raises."""
        try:
            if os.stat(self._path).st_size <= self._offset:  # noqa: PTH116  at every step
                return []
            with self._file.open("rb") as stream:
                stream.seek(self._offset)
                data = stream.read()
        except OSError:
            return []
        whole = data.rfind(b"\n") + 1
        self._offset += whole
        found = []
        for line in data[:whole].split(b"\n"):
            with contextlib.suppress(msgspec.MsgspecError):
                command = self._decoder.decode(line)
                if command.id not in self._done:
                    self._done.add(command.id)
                    found.append(command)
        return found
