"""Problems of GPUs, drivers and the disk that `doctor` shows, each with its repair."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from tui_trainer.hardware.system_info import SystemInfo
from tui_trainer.text import formats

_CHOOSE_TORCH = "https://pytorch.org/get-started/locally"
_LEAST_DISK = 2 << 30


class MissingItem(msgspec.Struct, frozen=True):
    """Something that is missing, and the command that repairs it."""

    what: str
    repair: str


def of_gpus(
    system: SystemInfo, *, torch_works: bool, torch_uses_gpu: bool, built_for: str | None
) -> Iterator[MissingItem]:
    """What keeps the GPUs of this computer from training; `built_for` is the CUDA or ROCm version
    of torch."""
    yield from _drivers(system)
    older = _older(system.cuda_version, built_for)
    if older:
        yield MissingItem(
            f"a driver for torch's CUDA {built_for} (the installed one supports up to "
            f"{system.cuda_version})",
            f"update the NVIDIA driver, or install a torch for CUDA {system.cuda_version}: "
            f"{_CHOOSE_TORCH}",
        )
    makers = {gpu.vendor for gpu in system.gpus if gpu.problem is None}
    if makers - {"Apple"} and torch_works and not torch_uses_gpu and not older:
        yield MissingItem(
            "a torch that uses this GPU",
            f"pip install torch, with the index of {_CHOOSE_TORCH} for your driver",
        )
    for gpu in system.gpus:
        if gpu.problem is not None:
            repair = "sudo reboot"
            if gpu.vendor == "NVIDIA":
                repair = f"sudo nvidia-smi --gpu-reset -i {gpu.index}, else {repair}"
            yield MissingItem(f"GPU {gpu.index}: {gpu.problem}", repair)


def _drivers(system: SystemInfo) -> Iterator[MissingItem]:
    """GPUs that are plugged in but have no working driver."""
    with_driver = {gpu.vendor for gpu in system.gpus}
    message = system.gpu_message or ""
    if "differ in version" in message:
        yield MissingItem("an NVIDIA driver as new as its library", "sudo reboot")
    elif "has not answered" in message:
        yield MissingItem(f"a driver that answers: {message}", "sudo reboot")
    elif "NVIDIA" in system.gpu_cards and "NVIDIA" not in with_driver:
        yield MissingItem(
            f"a driver for the NVIDIA card ({message})" if message else "an NVIDIA driver",
            "sudo ubuntu-drivers install (Ubuntu), sudo apt install nvidia-driver (Debian), or "
            "in a container: docker run --gpus all",
        )
    if "AMD" in system.gpu_cards and "AMD" not in with_driver:
        yield MissingItem(
            "amdsmi (utilisation and memory of the AMD GPU; part of ROCm)",
            "pip install /opt/rocm/share/amd_smi",
        )


def of_disk(system: SystemInfo) -> Iterator[MissingItem]:
    """A disk that is nearly full, so that runs could not be saved."""
    if system.disk_free is not None and system.disk_free < _LEAST_DISK:
        yield MissingItem(
            f"disk space ({formats.size(system.disk_free)} free at {system.disk_path})",
            f"du -xh {system.disk_path} | sort -h | tail shows what uses it; or choose another "
            "folder with --runs-dir",
        )


def _older(has: str | None, needs: str | None) -> bool:
    """Whether a CUDA version has a lower major number than the needed one: within one major
    version, newer minor versions run on an older driver."""
    try:
        return (
            has is not None
            and needs is not None
            and int(has.split(".")[0]) < int(needs.split(".")[0])
        )
    except ValueError:
        return False
