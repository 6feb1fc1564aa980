"""The driver's errors, by the names that NVML gives them."""

from __future__ import annotations


class NVMLError(Exception):
    pass


class NVMLError_GpuIsLost(NVMLError):  # noqa: N801, N818
    def __str__(self) -> str:
        return "GPU is lost"


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818
    pass
