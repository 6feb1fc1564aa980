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
    """One line: a notice that was sent through a channel."""

    time: float  # seconds since the epoch
    key: str  # of the notice, the same for every process that watches the run
    channel: str = msgspec.field(name="way")  # "webhook" or "command"
    kind: str  # of the notice: "crash", "finish", ...
    text: str  # of the notice, one sentence
    host: str  # where the process that sent it runs
    pid: int  # of the process that sent it


def claim(notice: Notice, channel: str) -> bool:
    """Whether this process sends a notice through a channel that all processes share.

    Only the first process to ask does. If the run folder cannot be written, each one does. Never
    raises.
    """
    folder = RunFolder(Path(notice.path))
    if not folder.info_file.is_file():
        return True  # another tool's run, into whose folder nothing is written
    try:
        with locked(folder.notices_file):
            if _is_sent(folder.notices_file, notice.key, channel):
                return False
            _append(folder.notices_file, notice, channel)
    except OSError:
        pass
    return True


def _is_sent(file: Path, key: str, channel: str) -> bool:
    sent = jsonl.read_records(file, SentNotice).records
    return any(notice.key == key and notice.channel == channel for notice in sent)


def _append(file: Path, notice: Notice, channel: str) -> None:
    with atomic.appending(file) as lines:
        lines.append(
            SentNotice(
                time=time.time(),
                key=notice.key,
                channel=channel,
                kind=notice.kind,
                text=notice.text,
                host=socket.gethostname(),
                pid=os.getpid(),
            )
        )
