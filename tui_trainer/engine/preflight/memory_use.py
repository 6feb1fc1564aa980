"""Memory that a forward pass needs, and memory available."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from transformers.modeling_layers import GradientCheckpointingLayer

from tui_trainer.hardware import memory

# Share of the available memory that a run may use: the rest is for other programs.
SHARE = 0.9


def peak_bytes(device: torch.device) -> int:
    """Return the peak memory in bytes: of this process, or on a GPU of torch's allocator."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_reserved(device))
    if sys.platform.startswith("linux"):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def available_bytes(device: torch.device) -> int:
    """Return the bytes that this process may use in all, including those it uses already."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free + torch.cuda.memory_reserved(device))
    return memory.free_bytes() + int(psutil.Process().memory_info().rss)


def saved_bytes(forward: Callable[[], torch.Tensor], model: nn.Module | None = None) -> int:
    """Run `forward`, which includes the backward pass, and return the bytes that the forward pass
    saves for the backward pass: each storage once, without parameters. With `model` the inputs of
    its checkpointed layers count as well, which are all that those layers save."""
    seen: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.is_leaf or not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    def enter(_: nn.Module, inputs: tuple[Any, ...]) -> None:
        for value in inputs:
            if isinstance(value, torch.Tensor):
                keep(value)

    layers = [] if model is None else [m for m in model.modules() if _is_checkpointed(m)]
    hooks = [layer.register_forward_pre_hook(enter) for layer in layers]
    try:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            forward()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(seen.values())


def _is_checkpointed(module: nn.Module) -> bool:
    return isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
