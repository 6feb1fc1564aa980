"""Time of an optimizer step by part: waiting for data, forward, backward, optimizer, reporting.

Some steps are profiled by marks that the loop sets between the parts. On CUDA a mark is an event
in the stream, read after the step, so that nothing waits for it and times are those of the GPU.
Elsewhere a mark is a reading of the clock; on Apple's GPU, which works asynchronously, it shows
when work was submitted, not when it was done.
"""

from __future__ import annotations

import resource
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tui_trainer.contracts.hardware import StepDivision
from tui_trainer.hardware.peak_flops import peak_flops
from tui_trainer.models.base_model import parameter_count

# The marks of a step cost some microseconds, so that of steps shorter than `_LONG_SECONDS` only one
# in `_ONE_IN` is profiled.
_LONG_SECONDS = 0.05
_ONE_IN = 8
_FIRST = 2  # the first step warms up and is not typical
_KEPT = 32  # profiled steps that `latest` averages
_WORK = ("forward", "backward", "optimizer")


@dataclass
class _Step:
    """One profiled step."""

    start: float  # clock, in seconds
    seconds: dict[str, float] = field(default_factory=dict)  # by part
    cpu_seconds: float = 0.0  # of forward, backward and optimizer while this thread had a CPU
    events: list[tuple[str, Any]] = field(default_factory=list)  # (part, CUDA event at its end)
    total_seconds: float = 0.0
    number: int = 0  # of the step in the run
    tokens: int = 0


class StepProfile:
    """Profiles steps; `latest` may be called from another thread."""

    def __init__(self, device: torch.device | None = None) -> None:
        self._device = device or torch.device("cpu")
        self._events = self._device.type == "cuda"
        self._current: _Step | None = None
        self._pending: _Step | None = None
        self._count = 0
        self._next = _FIRST
        self._last_mark = self._last_cpu = 0.0
        self._done: deque[_Step] = deque(maxlen=_KEPT)
        self._flops_per_token: float | None = None
        self._peak: float | None = None

    def set_model(self, model: nn.Module, precision: str, devices: int = 1) -> None:
        """Set the operations per token of `model`, and the peak rate of `devices` devices.

        Two operations per parameter forward, two for the gradients of what flows between layers,
        and two more for those of trained parameters (Kaplan et al. 2020, appendix B); attention's
        own products and a recomputed forward pass are left out, as in the PaLM paper's MFU. The
        input embedding is looked up, not multiplied.
        """
        parameters = list(model.parameters())
        trained = sum(p.numel() for p in parameters if p.requires_grad)
        frozen = sum(parameter_count(p) for p in parameters if not p.requires_grad)
        embedding, head = _embeddings(model)
        if embedding is not None and embedding is not head:
            frozen -= embedding.numel()
        self._flops_per_token = 4.0 * frozen + 6.0 * trained
        if self._events:
            peak = peak_flops(torch.cuda.get_device_name(self._device), precision)
            self._peak = None if peak is None else devices * peak

    def begin(self) -> None:
        """Start a step."""
        self._read_events()
        self._count += 1
        if self._count < self._next or self._pending is not None:
            return
        self._current = _Step(time.perf_counter())
        self._last_mark, self._last_cpu = self._current.start, time.thread_time()
        if self._events:
            self._current.events.append(("", _event()))

    def mark(self, part: str) -> None:
        """Count the time since the last mark as `part`."""
        step = self._current
        if step is None:
            return
        if self._events:
            step.events.append((part, _event()))
            return
        now, cpu = time.perf_counter(), time.thread_time()
        step.seconds[part] = step.seconds.get(part, 0.0) + now - self._last_mark
        if part in _WORK:
            step.cpu_seconds += cpu - self._last_cpu
        self._last_mark, self._last_cpu = now, cpu

    @property
    def is_profiling(self) -> bool:
        """Whether the current step is profiled."""
        return self._current is not None

    def end(self, number: int, tokens: int) -> None:
        """End step `number`, which had `tokens` tokens."""
        step = self._current
        if step is None:
            return
        self.mark("reporting")
        self._current = None
        step.number, step.tokens = number, tokens
        step.total_seconds = time.perf_counter() - step.start
        self._next = self._count + (1 if step.total_seconds >= _LONG_SECONDS else _ONE_IN)
        if self._events:
            self._pending = step
        else:
            self._done.append(step)

    def latest(self) -> StepDivision | None:
        """Return the means over the last profiled steps; None before the first."""
        steps = list(self._done)
        if not steps:
            return None
        total, count = sum(step.total_seconds for step in steps), len(steps)
        rate = sum(step.tokens for step in steps) / total if total > 0 else None
        flops = None if rate is None or not self._flops_per_token else rate * self._flops_per_token

        def part(name: str) -> float:
            return round(1000 * sum(step.seconds.get(name, 0.0) for step in steps) / count, 4)

        work = sum(step.seconds.get(name, 0.0) for step in steps for name in _WORK)
        counted = self._device.type == "cpu" and work > 0
        allocated, reserved, peak = _memory(self._device)
        return StepDivision(
            step=steps[-1].number,
            steps=count,
            device=str(self._device),
            step_ms=round(1000 * total / count, 4),
            data_ms=part("data"),
            forward_ms=part("forward"),
            backward_ms=part("backward"),
            optimizer_ms=part("optimizer"),
            reporting_ms=part("reporting"),
            cpu_share=round(sum(s.cpu_seconds for s in steps) / work, 3) if counted else None,
            tokens_per_second=None if rate is None else round(rate, 1),
            memory_allocated=allocated,
            memory_reserved=reserved,
            memory_peak=peak,
            flops=flops,
            peak_flops=self._peak,
            utilisation=flops / self._peak if flops and self._peak else None,
        )

    def _read_events(self) -> None:
        """Read the events of the last profiled step, once the GPU has passed them."""
        step = self._pending
        if step is None or not step.events[-1][1].query():
            return
        for (_, before), (part, after) in zip(step.events, step.events[1:], strict=False):
            step.seconds[part] = step.seconds.get(part, 0.0) + before.elapsed_time(after) / 1000
        step.events.clear()
        self._pending = None
        self._done.append(step)


def _event() -> Any:
    event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
    event.record()
    return event


def _embeddings(model: Any) -> tuple[nn.Parameter | None, nn.Parameter | None]:
    """Return the weights of the input embedding and the output layer, which may be the same."""
    found = []
    for name in ("get_input_embeddings", "get_output_embeddings"):
        layer = getattr(model, name, lambda: None)()
        found.append(getattr(layer, "weight", None))
    return found[0], found[1]


def _memory(device: torch.device) -> tuple[int | None, int | None, int | None]:
    """Return the bytes allocated, reserved, and allocated at most; None where unknown."""
    if device.type == "cuda":
        return (
            torch.cuda.memory_allocated(device),
            torch.cuda.memory_reserved(device),
            torch.cuda.max_memory_allocated(device),
        )
    if device.type == "mps":
        return torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory(), None
    # Peak resident memory of the process: in bytes on macOS, elsewhere in KiB.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None, None, most * (1 if sys.platform == "darwin" else 1024)
