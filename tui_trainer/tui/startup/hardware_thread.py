"""The thread that samples the hardware."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.errors import reason_of
from tui_trainer.tui.common.background import Post
from tui_trainer.tui.common.protocols import HardwareSource
from tui_trainer.tui.messages import HardwareSampled, NoticePosted

SAMPLE_SECONDS = 2.0
_SETTLE_SECONDS = 0.5  # the charts load first: the sampler takes 0.1 s to load
_FIRST_SECONDS = 0.3  # CPU utilisation needs two samples


class HardwareThread:
    """Samples the hardware every `SAMPLE_SECONDS` in a thread, so that a slow driver call
    cannot block the screen."""

    def __init__(
        self, post: Post, make: Callable[[int | None, Path], HardwareSource], disk: Path
    ) -> None:
        self._post = post
        self._make = make
        self._disk = disk
        self._pid: int | None = None
        self._stopped = threading.Event()
        self._wake = threading.Event()

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name="hardware", daemon=True).start()

    def stop(self) -> None:
        """Stop the thread after the current sample; does not wait for it."""
        self._stopped.set()
        self._wake.set()

    def measure_process(self, pid: int | None) -> None:
        """Select the process that is measured as the run's."""
        if pid != self._pid:
            self._pid = pid
            self._wake.set()

    def _run(self) -> None:
        if self._stopped.wait(_SETTLE_SECONDS):
            return
        pid = self._pid
        sampler = self._make(pid, self._disk)
        first, failed = True, ""
        while not self._stopped.is_set():
            if pid != self._pid:
                pid = self._pid
                sampler = self._make(pid, self._disk)
                first = True
            try:
                self._post(HardwareSampled(sampler.sample()))
                failed = ""
            except Exception as error:  # the panel keeps the last sample, and the thread continues
                if failed != (failed := reason_of(error)):
                    self._post(NoticePosted(f"the hardware cannot be sampled: {failed}", "warning"))
            self._wake.wait(_FIRST_SECONDS if first else SAMPLE_SECONDS)
            first = False
            self._wake.clear()
