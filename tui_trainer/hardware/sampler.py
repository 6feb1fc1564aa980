"""Samples of the load on the hardware, cheap enough for one every second."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.hardware import cgroup
from tui_trainer.hardware.gpu import TIMEOUT_SECONDS, Gpus, TimedGpus

T = TypeVar("T")

# Two readings of a counter closer together than this give noise; the earlier rate is kept.
_SHORTEST_SECONDS = 0.05


class Sampler:
    """Samples the hardware, for use by one thread.

    Percentages and rates are from one call of `sample` to the next, the first from the
    constructor on. `run_pid` may be changed, as when a run is resumed in a new process.

    Args:
        run_pid: the process of the run.
        disk_path: a path on the disk whose space is sampled (default: the current folder).
        gpus: the GPUs. A `TimedGpus` may be passed from one sampler to the next, so that a hung
            driver is waited for only once.
        timeout: seconds to wait for the GPU driver.
    """

    def __init__(
        self,
        run_pid: int | None = None,
        disk_path: Path | None = None,
        gpus: Gpus | TimedGpus | None = None,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        self._disk_path = disk_path
        self._gpus = gpus if isinstance(gpus, TimedGpus) else TimedGpus(gpus, timeout)
        self._process: psutil.Process | None = None
        self._run_pid: int | None = None
        self._system_cpu = _Rate()
        self._run = _Rate()
        self._run_write = _Rate()
        self._cores: list[_Rate] = []
        self._disk = _Rate()
        self._network = (_Rate(), _Rate())
        self.run_pid = run_pid
        self._cpu()
        none_on_error(self._per_core)
        self._rates()

    @property
    def run_pid(self) -> int | None:
        """The process whose memory and share of the processors are sampled."""
        return self._run_pid

    @run_pid.setter
    def run_pid(self, pid: int | None) -> None:
        if pid == self._run_pid and (self._process is not None or pid is None):
            return
        self._run_pid, self._process = pid, None
        self._run, self._run_write = _Rate(), _Rate()
        if pid is not None:
            with contextlib.suppress(Exception):
                self._process = psutil.Process(pid)
            self._run_cpu(1)  # the share counts from here on

    def sample(self) -> HardwareSample:
        """A sample. Never raises; a value that cannot be read is None."""
        cpu_percent, cpu_count = self._cpu()
        ram_used, ram_total = none_on_error(_ram) or (None, None)
        swap = none_on_error(psutil.swap_memory)
        load = none_on_error(os.getloadavg)
        disk = none_on_error(lambda: disk_space(self._disk_path)) or (None, None)
        disk_write, received, sent = self._rates()
        gpus = none_on_error(lambda: self._gpus.read(self._run_pid)) or []
        return HardwareSample(
            time=time.time(),
            cpu_percent=cpu_percent,
            cpu_count=cpu_count,
            cores=none_on_error(self._per_core),
            load_1m=load[0] if load is not None else None,
            ram_used=ram_used,
            ram_total=ram_total,
            swap_used=None if swap is None else int(swap.used),
            swap_total=None if swap is None else int(swap.total),
            disk_free=disk[0],
            disk_total=disk[1],
            disk_write=disk_write,
            network_received=received,
            network_sent=sent,
            run_rss=none_on_error(self._rss),
            run_threads=none_on_error(self._threads),
            run_cpu_percent=self._run_cpu(cpu_count or 1),
            run_write=none_on_error(self._written),
            gpus=gpus,
            gpu_message=self._gpus.message,
            gpu_driver=self._gpus.driver(),
            cuda_version=self._gpus.cuda(),
        )

    def _rss(self) -> int | None:
        return None if self._process is None else int(self._process.memory_info().rss)

    def _threads(self) -> int | None:
        return None if self._process is None else int(self._process.num_threads())

    def _written(self) -> float | None:
        counters = getattr(self._process, "io_counters", None)  # not on macOS
        if counters is None:
            return None
        return self._run_write.advance(float(counters().write_bytes), time.monotonic())

    def _per_core(self) -> list[float] | None:
        """Percent busy of each processor that this process may use."""
        times = psutil.cpu_times(percpu=True)
        allowed_times = [times[cpu] for cpu in allowed_cpus() if cpu < len(times)]
        if len(self._cores) != len(allowed_times):  # a processor was added or removed
            self._cores = [_Rate() for _ in allowed_times]
        pairs = zip(self._cores, allowed_times, strict=True)
        shares = [_percent(rate.advance(*_clock(one)), 1) for rate, one in pairs]
        known = [round(share, 1) for share in shares if share is not None]
        return known if len(known) == len(allowed_times) and known else None

    def _rates(self) -> tuple[float | None, float | None, float | None]:
        """Bytes a second written to all disks, received and sent over all networks."""
        now = time.monotonic()
        disk = none_on_error(psutil.disk_io_counters)
        network = none_on_error(psutil.net_io_counters)
        received, sent = self._network
        return (
            None if disk is None else self._disk.advance(float(disk.write_bytes), now),
            None if network is None else received.advance(float(network.bytes_recv), now),
            None if network is None else sent.advance(float(network.bytes_sent), now),
        )

    def _cpu(self) -> tuple[float | None, int | None]:
        limit = none_on_error(cgroup.cpu_limit)
        allowed = none_on_error(allowed_cpus) or []
        if limit is not None and limit.used_seconds is not None and limit.cpus < len(allowed):
            spent = self._system_cpu.advance(limit.used_seconds, time.monotonic())
            return _percent(spent, limit.cpus), max(1, round(limit.cpus))
        busy, total = none_on_error(lambda: _clocks(allowed)) or (None, None)
        if busy is None or total is None:
            return None, len(allowed) or None
        return _percent(self._system_cpu.advance(busy, total), 1), len(allowed)

    def _run_cpu(self, cpus: int) -> float | None:
        if self._process is None:
            return None
        process = self._process
        times = none_on_error(process.cpu_times)
        if times is None:
            return None
        return _percent(self._run.advance(times.user + times.system, time.monotonic()), cpus)


class _Rate:
    """The rate at which one counter advances relative to another, from reading to reading."""

    def __init__(self) -> None:
        self._before: tuple[float, float] | None = None
        self._rate: float | None = None

    def advance(self, busy: float, total: float) -> float | None:
        if self._before is not None and total - self._before[1] < _SHORTEST_SECONDS:
            return self._rate
        if self._before is not None:
            self._rate = (busy - self._before[0]) / (total - self._before[1])
        self._before = (busy, total)
        return self._rate


def _percent(rate: float | None, cpus: float) -> float | None:
    return None if rate is None else min(100.0, max(0.0, 100.0 * rate / cpus))


def allowed_cpus() -> list[int]:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(psutil.cpu_count() or 1))


def disk_free(path: Path | None) -> int:
    """Bytes free to the user on the disk of `path`, which need not exist."""
    return disk_space(path)[0]


def disk_space(path: Path | None) -> tuple[int, int]:
    """Bytes free to the user and total bytes of the disk of `path`, which need not exist."""
    folder = (path or Path.cwd()).absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    usage = psutil.disk_usage(str(folder))
    return int(usage.free), int(usage.total)


def ram_total() -> int:
    """Bytes of RAM that this process may use."""
    return _ram()[1]


def _ram() -> tuple[int, int]:
    memory = psutil.virtual_memory()
    limit = cgroup.memory_limit()
    if limit is not None and limit.total < memory.total:
        return limit.used, limit.total
    return int(memory.total - memory.available), int(memory.total)


def _clocks(allowed: list[int]) -> tuple[float, float]:
    """Busy and total seconds of the allowed processors since the system started."""
    times = psutil.cpu_times(percpu=True)
    allowed_times = [times[cpu] for cpu in allowed if cpu < len(times)] or times
    busy, total = zip(*map(_clock, allowed_times), strict=True)
    return sum(busy), sum(total)


def _clock(one: Any) -> tuple[float, float]:
    """Busy and total seconds of one processor."""
    # User times include guest times.
    total = sum(one) - getattr(one, "guest", 0) - getattr(one, "guest_nice", 0)
    return total - one.idle - getattr(one, "iowait", 0.0), total


def none_on_error(read: Callable[[], T]) -> T | None:
    """The result of `read`, or None where it raises."""
    try:
        return read()
    except Exception:  # a value that cannot be read is None, whatever the reason
        return None
