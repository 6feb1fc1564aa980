"""Apple's GPU. It shares the main memory and offers no figures without root; only torch in the
engine knows how much memory a run uses on it."""

from __future__ import annotations

import platform

from tui_trainer.contracts.hardware import GpuSample


class AppleGpu:
    """The GPU of an Apple chip, if this computer has one."""

    def __init__(self, system: str | None = None, architecture: str | None = None) -> None:
        self._is_present = (system or platform.system()) == "Darwin" and (
            architecture or platform.machine()
        ) == "arm64"
        self.message: str | None = None

    def read(self, run_pid: int | None = None) -> list[GpuSample]:
        """The GPU; empty on other computers."""
        if not self._is_present:
            return []
        return [GpuSample(index=0, vendor="Apple", name="Apple GPU", unified=True)]

    def driver(self) -> str | None:
        """The system's version, with which the driver comes."""
        return (platform.mac_ver()[0] or None) if self._is_present else None

    def cuda(self) -> str | None:
        """None: there is no CUDA here."""
        return None
