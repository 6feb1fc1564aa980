"""`notices.jsonl` of a run folder: the notices that were sent, so that none is sent twice."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.notice import Notice
from tui_trainer.store import atomic, jsonl
from tui_trainer.store.file_lock import locked
from tui_trainer.store.runs.run_folder import RunFolder


class SentNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One line: a notice that was sent by a channel."""

    time: float  # seconds since the epoch
    key: str  # the notice's, the same for every process that sees what happened
    way: str  # the channel: "webhook" or "command"
    kind: str  # the notice's: "crash", "finish", ...
    text: str  # the notice's sentence
    host: str  # where the process that sent it runs
    pid: int  # of the process that sent it


def claim(notice: Notice, way: str) -> bool:
    """Whether this process sends the notice by the channel `way`: the first to ask does, of all
    processes that watch the run. Where nothing can be written, each one does. Never raises."""
    folder = RunFolder(Path(notice.path))
    if not folder.info_file.is_file():
        return True  # another tool's run: nothing of ours is put beside it
    try:
        with locked(folder.notices_file):
            if _is_sent(folder.notices_file, notice.key, way):
                return False
            _note(folder.notices_file, notice, way)
    except OSError:
        pass
    return True


def _is_sent(file: Path, key: str, way: str) -> bool:
    sent = jsonl.read_records(file, SentNotice).records
    return any(notice.key == key and notice.way == way for notice in sent)


def _note(file: Path, notice: Notice, way: str) -> None:
    with atomic.appending(file) as lines:
        lines.append(
            SentNotice(
                time=time.time(),
                key=notice.key,
                way=way,
                kind=notice.kind,
                text=notice.text,
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
