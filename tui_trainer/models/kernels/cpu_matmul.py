"""Matrix products with frozen weights on the CPU, by the faster of torch's two libraries.

torch multiplies fp32 matrices with MKL, which uses only AVX2 on processors of other makers than
Intel. oneDNN, which torch includes too, uses AVX-512 on all of them and is as exact. It is called
through the operator that torch's compiler uses.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import nn
from torch.nn import functional

# Multiplications below which the call (10 µs) costs more than it saves (1 to 20 µs).
_LEAST = 1 << 20
_LEAST_ROWS = 32
# Rows per call. oneDNN compiles a kernel for every new shape and keeps about 1 MiB for each, so
# that only a few shapes are used; remaining rows are padded to the smallest.
_BLOCKS = (512, 256, 128, 64, 32)
_TOLERANCE = 1e-5


class FrozenLinear(nn.Linear):
    """A linear layer with frozen weights, through which gradients flow to its input."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Map (..., inputs) to (..., outputs), as `nn.Linear` does."""
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
    """Make the model's frozen linear layers use the faster library. Layers that are trained,
    quantised or of another class stay unchanged."""
    for layer in model.modules():
        if type(layer) is nn.Linear and not any(p.requires_grad for p in layer.parameters()):
            layer.__class__ = FrozenLinear


def pays(rows: torch.Tensor, weight: torch.Tensor) -> bool:
    """Return whether `product` supports this case and is faster."""
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
    """Return `rows` times `weight` transposed, plus `bias`: by `product` where it `pays`."""
    if pays(rows, weight):
        return product(rows, weight, bias)
    return functional.linear(rows, weight, bias)


def pieces(count: int) -> list[slice]:
    """Return the slices of `count` rows that `product` computes in one call each, in order."""
    parts, done = [], 0
    for block in _BLOCKS:
        while count - done >= block:
            parts.append(slice(done, done + block))
            done += block
    return [*parts, slice(done, count)] if done < count else parts


def product(
    rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """Return `rows` (..., inputs) times `weight` (outputs, inputs) transposed, plus `bias`
    (outputs,), for a case that `pays`; `weight` may be a transposed view."""
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
    """Compute one of the `pieces`, padded to the smallest block."""
    missing = _BLOCKS[-1] - rows.shape[0]
    if missing <= 0:
        return _block(rows.contiguous(), weight, bias)
    return _block(functional.pad(rows, (0, 0, 0, missing)), weight, bias)[:-missing]


def _block(rows: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")
    return result


@cache
def _works() -> bool:
    """Return whether the operator exists, the processor has AVX-512, and the results are right."""
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(32, 96, generator=generator)
    weight = torch.randn(64, 96, generator=generator)
    bias = torch.randn(64, generator=generator)
    try:
        with torch.no_grad():
            forward = product(rows, weight, bias)
            backward = product(forward, weight.t())
    except (AttributeError, RuntimeError, TypeError):
        return False
    expected = functional.linear(rows, weight, bias)
    return agree(forward, expected) and agree(backward, expected @ weight)


def agree(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    """Return whether two results are the same but for rounding."""
    return ours.shape == theirs.shape and bool(
        (ours - theirs).abs().max() <= _TOLERANCE * theirs.abs().max()
    )
