"""All GPUs behind one small interface, with a limit to how long their drivers may take."""

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

# A reading takes milliseconds. A driver that hangs is left to its own thread after this.
PATIENCE_SECONDS = 1.0


class Gpus(Protocol):
    """The GPUs of one maker, or of all. Nothing here raises.

    `message` says in a few words why there is no GPU, or which one does not answer.
    """

    message: str | None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU; `memory_run` is what the process `run_pid` holds on it."""

    def driver(self) -> str | None:
        """The driver's version, or None without one."""

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, or None."""


class GpuReader:
    """The GPUs of every maker, numbered through. Starts no library before the first reading."""

    def __init__(self, makers: Sequence[Gpus] | None = None) -> None:
        self._makers = makers if makers is not None else (NvmlGpus(), AmdGpus(), AppleGpu())
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU."""
        found = [(maker, maker.read(run_pid)) for maker in self._makers]
        gpus = [gpu for _, some in found for gpu in some]
        # Where one maker's GPUs are found, it is no news that there are none of another.
        told = [maker.message for maker, some in found if some or not gpus]
        self.message = next((words for words in told if words is not None), None)
        return gpus

    def driver(self) -> str | None:
        """The version of the first driver that there is."""
        versions = (maker.driver() for maker in self._makers)
        return next((version for version in versions if version is not None), None)

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, or None."""
        versions = (maker.cuda() for maker in self._makers)
        return next((version for version in versions if version is not None), None)


class TimedGpus:
    """GPUs read in a thread of their own: a driver that hangs costs `patience` seconds once.

    Until it answers again nothing more is asked of it, the GPUs stand as problems by name, and
    `message` says for how long.
    """

    def __init__(self, gpus: Gpus | None = None, patience: float = PATIENCE_SECONDS) -> None:
        self._gpus: Gpus = gpus if gpus is not None else GpuReader()
        self._patience = patience
        self._asked_at = 0.0
        self._running: threading.Thread | None = None
        self._found: list[GpuSample] = []
        self._versions: tuple[str | None, str | None] | None = None
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """A sample of each GPU, after `patience` seconds at most."""
        if self._answers(lambda: self._read(run_pid)):
            self.message = self._gpus.message
            return self._found
        waited = time.monotonic() - self._asked_at
        self.message = f"the GPU driver has not answered for {duration(waited)}"
        problem = "its driver does not answer"
        return [
            GpuSample(index=gpu.index, vendor=gpu.vendor, name=gpu.name, problem=problem)
            for gpu in self._found
        ]

    def driver(self) -> str | None:
        """The driver's version as it was when the GPUs were first read."""
        return self._versions[0] if self._versions is not None else None

    def cuda(self) -> str | None:
        """The newest CUDA that the driver can run, as it was when the GPUs were first read."""
        return self._versions[1] if self._versions is not None else None

    def _read(self, run_pid: int | None) -> None:
        self._found = self._gpus.read(run_pid)
        if self._versions is None:
            self._versions = (self._gpus.driver(), self._gpus.cuda())

    def _answers(self, read: Callable[[], None]) -> bool:
        """Whether a reading ended in time; none is begun while another has not ended."""
        if self._running is not None and self._running.is_alive():
            return False
        self._asked_at = time.monotonic()
        self._running = threading.Thread(target=read, name="gpu", daemon=True)
        self._running.start()
        self._running.join(self._patience)
        return not self._running.is_alive()
