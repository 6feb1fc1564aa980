"""A frozen base sharded over several processes (FSDP), for bases too large for one GPU.

The weights of each layer are gathered while it computes and freed again. The adapter is small and
complete on every process, so optimizer, clipping and checkpoints are those of any run. What all
layers share, such as the embeddings, stays complete as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import batching
from tui_trainer.engine.data.example import Example


def shard(base: Any, device: torch.device, size: int) -> None:
    """Shard each layer's frozen weights over `size` processes; keep all else complete on `device`.

    Raises `UserError` for a base whose layers are unknown or quantised.
    """
    layers = layers_of(base)
    frozen = [p for layer in layers for p in layer.parameters() if not p.requires_grad]
    if not all(p.is_floating_point() for p in frozen):
        raise UserError('training.sharding = "fsdp" cannot shard a quantised base; use "none"')
    shared = {id(p) for p in frozen}
    complete = {p for p in base.parameters() if id(p) not in shared}
    mesh = init_device_mesh(device.type, (size,))
    for layer in layers:
        fully_shard(layer, mesh=mesh, ignored_params=complete)
    fully_shard(base.base_model, mesh=mesh, ignored_params=complete)
    for tensor in (*complete, *base.buffers()):
        tensor.data = tensor.data.to(device)


def layers_of(base: Any) -> list[nn.Module]:
    """Return the layers of a base: the modules that transformers does not split over devices."""
    names = set(getattr(base, "_no_split_modules", None) or ())
    layers = [module for module in base.modules() if type(module).__name__ in names]
    if not layers:
        raise UserError(
            f'training.sharding = "fsdp" does not know the layers of {type(base).__name__}; '
            'use "none"'
        )
    return layers


def own_passes(
    passes: list[Sequence[Example]], shares: list[list[Example]], rank: int
) -> list[Sequence[Example]]:
    """Return the forward passes of one process. All processes get the same number, because they
    gather every layer together: missing ones are added, with one example of weight 0."""
    size = max(len(group) for group in passes)
    every = [batching.groups_of(share, size) for share in shares]
    most = max(len(groups) for groups in every)
    empty: Sequence[Example] = [dataclasses.replace(passes[-1][-1], weight=0.0)]
    return every[rank] + [empty] * (most - len(every[rank]))


def is_shared(value: torch.Tensor) -> bool:
    """Return whether this process has only a part of a tensor."""
    return isinstance(value, DTensor)
