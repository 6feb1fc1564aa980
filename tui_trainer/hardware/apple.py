"""Apple's GPU. It shares the machine's memory, and offers nothing else without being root; what
a run holds on it is known to torch in the engine alone."""

from __future__ import annotations

import platform

from tui_trainer.contracts.hardware import GpuSample


class AppleGpu:
    """The GPU of an Apple chip, where this is one."""

    def __init__(self, system: str | None = None, machine: str | None = None) -> None:
        self._here = (system or platform.system()) == "Darwin" and (
            machine or platform.machine()
        ) == "arm64"
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """The GPU, or none."""
        if not self._here:
            return []
        return [GpuSample(index=0, vendor="Apple", name="Apple GPU", unified=True)]

    def driver(self) -> str | None:
        """The system's version, with which the driver comes."""
        return (platform.mac_ver()[0] or None) if self._here else None

    def cuda(self) -> str | None:
        """None: there is no CUDA here."""
        return None
