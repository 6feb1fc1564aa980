"""Matrix products with frozen weights on the CPU, by the faster of torch's two libraries.

torch multiplies fp32 matrices with MKL, which keeps to AVX2 on processors that are not Intel's;
oneDNN, which torch brings along too, uses AVX-512 on all of them and is as exact. It is reached
through the operator that torch's own compiler calls.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# Multiplications below which a call costs more than it saves (10 µs against 1 to 20).
_LEAST = 1 << 20
_LEAST_ROWS = 32
# Rows that are multiplied at a time. oneDNN writes code for every new shape and keeps about a
# megabyte each, so that there may be only a few; what is left is filled up to the least.
_BLOCKS = (512, 256, 128, 64, 32)
_TOLERANCE = 1e-5


class FrozenLinear(nn.Linear):
    """A linear layer whose own weights are not trained; its input's gradient is."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Shape (..., size in) to (..., size out), as `nn.Linear` gives it."""
        if torch.is_autocast_enabled(input.device.type) or not pays(input, self.weight):
            return super().forward(input)
        if not (torch.is_grad_enabled() and input.requires_grad):
            return product(input, self.weight, self.bias)
        result: torch.Tensor = _Frozen.apply(input, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return result


class _Frozen(torch.autograd.Function):
    """The product, and its gradient with respect to the input alone."""

    @staticmethod
    def forward(
        ctx: Any, rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None
    ) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (weight,) = ctx.saved_tensors
        return product(outer[0], weight.t()), None, None


def install(model: nn.Module) -> None:
    """From now on the model's frozen linear layers multiply by the faster library; those that
    are trained, quantised or of a kind of their own stay as they are."""
    for layer in model.modules():
        if type(layer) is nn.Linear and not any(p.requires_grad for p in layer.parameters()):
            layer.__class__ = FrozenLinear


def pays(rows: torch.Tensor, weight: torch.Tensor) -> bool:
    """Whether `product` knows this case and is worth its call."""
    return (
        type(weight) in (nn.Parameter, torch.Tensor)
        and rows.dtype == weight.dtype == torch.float32
        and rows.device.type == weight.device.type == "cpu"
        and rows.numel() >= _LEAST_ROWS * weight.shape[1]
        and rows.numel() * weight.shape[0] >= _LEAST
        and _works()
    )


def times(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """What `product` gives, of any case: by the faster library where it `pays`."""
    if pays(rows, weight):
        return product(rows, weight, bias)
    return functional.linear(rows, weight, bias)


def pieces(count: int) -> list[slice]:
    """So many rows in parts that `product` takes in one call each, in order."""
    parts, done = [], 0
    for block in _BLOCKS:
        while count - done >= block:
            parts.append(slice(done, done + block))
            done += block
    return [*parts, slice(done, count)] if done < count else parts


def product(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """`rows` (..., in) times `weight` (out, in) transposed, plus `bias` (out), of a case that
    `pays`; `weight` may be a transposed view."""
    flat = rows.reshape(-1, rows.shape[-1])
    size = (*rows.shape[:-1], weight.shape[0])
    parts = pieces(flat.shape[0])
    if len(parts) == 1:
        return _fast(flat, weight, bias).view(size)
    result = flat.new_empty(flat.shape[0], weight.shape[0])
    for part in parts:
        result[part] = _fast(flat[part], weight, bias)
    return result.view(size)


def _fast(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """One of the `pieces`."""
    lacking = _BLOCKS[-1] - rows.shape[0]
    if lacking <= 0:
        return _block(rows.contiguous(), weight, bias)
    return _block(functional.pad(rows, (0, 0, 0, lacking)), weight, bias)[:-lacking]


def _block(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return result


@cache
def _works() -> bool:
    """Whether the operator is there, on a processor where it pays, and gives what it should."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    chance = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(32, 96, generator=chance), torch.randn(64, 96, generator=chance)
    bias = torch.randn(64, generator=chance)
    try:
        with torch.no_grad():
            there = product(rows, weight, bias)
            back = product(there, weight.t())
    except (AttributeError, RuntimeError, TypeError):
        return False
    right = functional.linear(rows, weight, bias)
    return agree(there, right) and agree(back, right @ weight)


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Whether two results are the same but for rounding."""
    return ours.shape == theirs.shape and bool(
        (ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max()
    )
