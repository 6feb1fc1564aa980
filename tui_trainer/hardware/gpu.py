"""All GPUs behind one interface, with a timeout for their drivers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from tui_trainer.contracts.hardware import GpuSample
from tui_trainer.hardware.amd import AmdGpus
from tui_trainer.hardware.apple import AppleGpu
from tui_trainer.hardware.nvml import NvmlGpus
from tui_trainer.text.formats import duration

# A reading takes milliseconds; after this long the driver counts as hung.
TIMEOUT_SECONDS = 1.0


class Gpus(Protocol):
    """The GPUs of one vendor, or of all. No method raises."""

    message: str | None  # why there is no GPU, or which one does not answer

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU; `memory_run` is the memory that process `run_pid` uses on it."""

    def driver(self) -> str | None:
        """The driver's version, or None without one."""

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, or None."""


class GpuReader:
    """The GPUs of all vendors. The libraries are loaded by the first reading."""

    def __init__(self, vendors: Sequence[Gpus] | None = None) -> None:
        self._vendors = vendors if vendors is not None else (NvmlGpus(), AmdGpus(), AppleGpu())
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU."""
        found = [(vendor, vendor.read(run_pid)) for vendor in self._vendors]
        gpus = [gpu for _, some in found for gpu in some]
        # Where one vendor's GPUs are found, the absence of another's needs no message.
        messages = [vendor.message for vendor, some in found if some or not gpus]
        self.message = next((text for text in messages if text is not None), None)
        return gpus

    def driver(self) -> str | None:
        """The version of the first driver found."""
        versions = (vendor.driver() for vendor in self._vendors)
        return next((version for version in versions if version is not None), None)

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, or None."""
        versions = (vendor.cuda() for vendor in self._vendors)
        return next((version for version in versions if version is not None), None)


class TimedGpus:
    """GPUs read in a thread of their own: a driver that hangs costs `timeout` seconds once.

    Until that reading ends no other is started; the GPUs are returned with a `problem` instead of
    values, and `message` says for how long the driver has not answered.
    """

    def __init__(self, gpus: Gpus | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        self._gpus: Gpus = gpus if gpus is not None else GpuReader()
        self._timeout = timeout
        self._started_at = 0.0
        self._running: threading.Thread | None = None
        self._gpus_found: list[GpuSample] = []
        self._versions: tuple[str | None, str | None] | None = None
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU, after `timeout` seconds at most."""
        if self._ends_in_time(lambda: self._read(run_pid)):
            self.message = self._gpus.message
            return self._gpus_found
        waited = time.monotonic() - self._started_at
        self.message = f"the GPU driver has not answered for {duration(waited)}"
        problem = "its driver does not answer"
        return [
            GpuSample(index=gpu.index, vendor=gpu.vendor, name=gpu.name, problem=problem)
            for gpu in self._gpus_found
        ]

    def driver(self) -> str | None:
        """The driver's version as it was when the GPUs were first read."""
        return self._versions[0] if self._versions is not None else None

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, as it was when the GPUs were first read."""
        return self._versions[1] if self._versions is not None else None

    def _read(self, run_pid: int | None) -> None:
        self._gpus_found = self._gpus.read(run_pid)
        if self._versions is None:
            self._versions = (self._gpus.driver(), self._gpus.cuda())

    def _ends_in_time(self, read: Callable[[], None]) -> bool:
        """Whether the reading ended in time; not started while an earlier one has not ended."""
        if self._running is not None and self._running.is_alive():
            return False
        self._started_at = time.monotonic()
        self._running = threading.Thread(target=read, name="gpu", daemon=True)
        self._running.start()
        self._running.join(self._timeout)
        return not self._running.is_alive()
