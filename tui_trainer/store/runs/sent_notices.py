"""`notices.jsonl` of a run folder: who was told what of the run, so that nobody is told twice."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import time
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT
from tui_trainer.contracts.notice import Notice
from tui_trainer.store import atomic
from tui_trainer.store.regular_files import read_regular
from tui_trainer.store.runs.run_folder import RunFolder


class SentNotice(msgspec.Struct, frozen=True, kw_only=True):
    """One line: the notice of this `key` went out by this way, from this process."""

    time: float
    key: str
    way: str
    kind: str
    text: str
    host: str
    pid: int


def claim(notice: Notice, way: str) -> bool:
    """Whether this process is the one to send the notice by `way`: the first to ask, of all
    that look at the run. Where nothing can be written, everybody is. Never raises."""
    folder = RunFolder(Path(notice.path))
    if not folder.info_file.is_file():
        return True  # another tool's run: nothing of ours is put beside it
    try:
        descriptor = os.open(
            folder.notices_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, atomic.PRIVATE
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_sent(folder.notices_file, notice.key, way):
                return False
            _note(folder.notices_file, notice, way)
        finally:
            os.close(descriptor)
    except OSError:
        pass
    return True


def _is_sent(file: Path, key: str, way: str) -> bool:
    decoder = msgspec.json.Decoder(SentNotice)
    for line in read_regular(file).split(b"\n"):
        with contextlib.suppress(*BAD_CONTENT):
            sent = decoder.decode(line)
            if sent.key == key and sent.way == way:
                return True
    return False


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
