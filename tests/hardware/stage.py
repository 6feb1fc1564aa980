"""`python -m tests.hardware.stage --gpus 8`: the session over simulated GPUs.

The GPUs are a fake NVML behind our own reader, so that what is seen went the whole way; the run is
made up too. Of eight one is divided (MIG), one is lost, one is hot.
"""

from __future__ import annotations

import argparse
import math
import os
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from tests.hardware.nvml_errors import NVMLError, NVMLError_GpuIsLost, NVMLError_NotSupported
from tests.stories import conftest as stories
from tui_trainer.contracts.hardware import HardwareSample, StepDivision
from tui_trainer.contracts.settings import Settings
from tui_trainer.hardware.gpu import GpuReader, TimedGpus
from tui_trainer.hardware.nvml import NvmlGpus
from tui_trainer.hardware.recorder import with_division
from tui_trainer.hardware.sampler import Sampler
from tui_trainer.store import atomic
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.common.protocols import Services
from tui_trainer.watch.folder_watcher import FolderWatcher

GIB = 1 << 30
DIVIDED, LOST, HOT = 3, 5, 6
DIVISION = StepDivision(
    step=60, steps=32, device="cuda:0", step_ms=212.0, data_ms=96.0, forward_ms=38.0,
    backward_ms=61.0, optimizer_ms=9.0, reporting_ms=5.0, tokens_per_second=18_402.0,
    memory_allocated=31 * GIB, memory_reserved=38 * GIB, memory_peak=35 * GIB, flops=3.1e14,
    peak_flops=9.894e14, utilisation=0.313,
)  # fmt: skip


class Card:
    """NVML over GPUs that come and go with the clock; a handle is an index, or "slice-k"."""

    NVMLError = NVMLError

    def __init__(self, count: int) -> None:
        self.count = count
        self.born = self.now = time.time()
        self._numbers = {
            "nvmlInit": lambda: None,
            "nvmlDeviceGetCount": lambda: self.count,
            "nvmlSystemGetDriverVersion": lambda: "580.65.06",
            "nvmlSystemGetCudaDriverVersion": lambda: 13000,
            "nvmlSystemGetProcessName": self._process_name,
            "nvmlDeviceGetHandleByIndex": self._handle,
            "nvmlDeviceGetName": lambda gpu: (
                "NVIDIA H200" if isinstance(gpu, int) else "NVIDIA H200 MIG 3g.71gb"
            ),
            "nvmlDeviceGetUUID": lambda gpu: f"GPU-{gpu}",
            "nvmlDeviceGetMemoryInfo": self._memory,
            "nvmlDeviceGetUtilizationRates": self._rates,
            "nvmlDeviceGetTemperature": lambda gpu, _: (
                89 if gpu == HOT else 52 + self._wave(gpu, 9)
            ),
            "nvmlDeviceGetTemperatureThreshold": lambda *_: 90,
            "nvmlDeviceGetPowerUsage": lambda gpu: 1000 * (420 + self._wave(gpu, 180)),
            "nvmlDeviceGetEnforcedPowerLimit": lambda _: 700_000,
            "nvmlDeviceGetClockInfo": lambda gpu, kind: 1755 if kind == 1 else 3201,
            "nvmlDeviceGetMaxClockInfo": lambda *_: 1980,
            "nvmlDeviceGetCurrentClocksEventReasons": lambda gpu: 0x24 if gpu == HOT else 0,
            "nvmlDeviceGetCurrPcieLinkGeneration": lambda gpu: 4 if gpu == 1 else 5,
            "nvmlDeviceGetCurrPcieLinkWidth": lambda _: 16,
            "nvmlDeviceGetMaxPcieLinkGeneration": lambda _: 5,
            "nvmlDeviceGetMaxPcieLinkWidth": lambda _: 16,
            "nvmlDeviceGetTotalEccErrors": lambda gpu, kind, _: 3 if (gpu, kind) == (2, 0) else 0,
            "nvmlDeviceGetMigMode": lambda gpu: [int(gpu == DIVIDED), 0],
            "nvmlDeviceGetMaxMigDeviceCount": lambda _: 7,
            "nvmlDeviceGetMigDeviceHandleByIndex": self._slice,
            "nvmlDeviceGetComputeRunningProcesses": self._processes,
            "nvmlDeviceGetProcessUtilization": self._shares,
        }

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["_numbers"][name]
        except KeyError:
            raise AttributeError(name) from None

    def _wave(self, gpu: Any, most: int) -> int:
        phase = self.now / 41 + (gpu if isinstance(gpu, int) else 0)
        return round(most * (0.6 + 0.3 * math.sin(phase) + 0.1 * math.sin(7 * phase)))

    def _handle(self, index: int) -> int:
        if self.count > 1 and index == LOST and self.now > self.born - 120:
            raise NVMLError_GpuIsLost
        return index

    def _slice(self, _: Any, slot: int) -> str:
        if slot not in (0, 2):
            raise NVMLError("Not Found")
        return f"slice-{slot}"

    def _memory(self, gpu: Any) -> SimpleNamespace:
        total = (71 if isinstance(gpu, str) else 141) * GIB
        return SimpleNamespace(used=41 * GIB + self._wave(gpu, 4) * GIB, total=total)

    def _rates(self, gpu: int) -> SimpleNamespace:
        if gpu == DIVIDED:
            raise NVMLError_NotSupported  # so it is with MIG
        return SimpleNamespace(gpu=self._wave(gpu, 99), memory=self._wave(gpu, 50))

    def _temperature(self, gpu: Any, _: int) -> int:
        return 89 if gpu == HOT else 52 + self._wave(gpu, 9)

    def _processes(self, gpu: Any) -> list[SimpleNamespace]:
        run = [SimpleNamespace(pid=os.getpid(), usedGpuMemory=38 * GIB)] if gpu == 0 else []
        return [*run, SimpleNamespace(pid=4_190_001 + int(gpu == 1), usedGpuMemory=2 * GIB)]

    def _shares(self, gpu: int, since: int) -> list[SimpleNamespace]:
        if gpu != 0:
            raise NVMLError("Not Found")
        return [SimpleNamespace(pid=os.getpid(), timeStamp=since, smUtil=self._wave(gpu, 99))]

    def _process_name(self, pid: int) -> str:
        if pid != os.getpid():
            raise NVMLError("Not Found")
        return "/usr/bin/python3"


class Staged:
    """The real sampler over the fake cards, with a division as the engine would give it."""

    def __init__(self, card: Any, run_pid: int | None, path: Path) -> None:
        self._card = card
        gpus = TimedGpus(GpuReader([NvmlGpus(lambda: card)]))
        self._sampler = Sampler(run_pid=run_pid, disk_path=path, gpus=gpus)

    def sample(self, at: float | None = None) -> HardwareSample:
        self._card.now = at or time.time()
        sample = self._sampler.sample()
        return sample if at is None else msgspec.structs.replace(sample, time=at)


def no_driver() -> Any:
    class NVMLError_LibraryNotFound(NVMLError):  # noqa: N801, N818
        pass

    def fails() -> None:
        raise NVMLError_LibraryNotFound

    return SimpleNamespace(NVMLError=NVMLError, nvmlInit=fails)


def make_run(root: Path, card: Any, status: str, samples: int = 240) -> RunFolder:
    """A run of this process, with what its machine did over the last minutes."""
    folder, now = RunFolder(root / "gsm8k-lora-id"), time.time()
    folder.path.mkdir(parents=True)
    atomic.write_json(folder.info_file, stories._info("gsm8k-lora", now))
    stories._write_metrics(folder, 60, now)
    stories.write_state(folder, status, 60, now)
    staged = Staged(card, os.getpid(), root)
    division = DIVISION
    if not getattr(card, "count", 0):
        division = msgspec.structs.replace(
            division, device="cpu", cpu_share=0.97, memory_allocated=None, memory_reserved=None,
            memory_peak=3 * GIB, utilisation=None,
        )  # fmt: skip
    with atomic.appending(folder.hardware_file) as lines:
        for back in range(samples, 0, -1):
            lines.append(with_division(staged.sample(now - 2.0 * back), division))
    return folder


def main() -> None:
    """Shows the session until it is left."""
    parser = argparse.ArgumentParser(prog="python -m tests.hardware.stage")
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--theme", default="harbour")
    parser.add_argument("--status", default="training")
    options = parser.parse_args()
    card: Any = Card(options.gpus) if options.gpus else no_driver()
    with tempfile.TemporaryDirectory() as slot:
        os.environ["TUI_TRAINER_HOME"] = f"{slot}/home"
        root = Path(slot, "runs")
        make_run(root, card, options.status)
        services = Services(
            watch=lambda on_change: FolderWatcher(root, on_change, poll_seconds=0.5),
            sampler=lambda pid, path: Staged(card, pid, path),
            supervisor=stories.FakeSupervisor,
            chat=stories.no_chat,
        )
        TrainerApp(root, settings=Settings(theme=options.theme), services=services).run()


if __name__ == "__main__":
    main()
