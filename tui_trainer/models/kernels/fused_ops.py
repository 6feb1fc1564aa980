"""Fused operations for training a decoder on the CPU, each with its own backward pass.

As single operations of torch, a normalisation or a rotation reads and writes memory a dozen times,
forward and backward. The same formulas here need a few passes, and save less for the backward pass.
A module is replaced only where a test gives the same output as the model's own code.
"""

from __future__ import annotations

import sys
from functools import wraps
from types import ModuleType
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import nn
from torch.nn import functional

from tui_trainer.models.kernels import cpu_matmul
from tui_trainer.models.kernels.cpu_matmul import FrozenLinear

_ROTATION = "apply_rotary_pos_emb"
_COMBINED: dict[tuple[type[Any], type[Any]], type[Any]] = {}
_PROJECTIONS = ("gate_proj", "up_proj", "down_proj")


def install(model: nn.Module) -> None:
    """Make the model compute RMS norms, rotary positions, gated MLPs and LoRA layers in one
    operation each, in fp32 on the CPU. All other cases use the model's own code."""
    sources = set()  # Python modules that define the model's layers
    for module in model.modules():
        sources.add(type(module).__module__)
        fused = _fused_class(module)
        if fused is not None:
            module.__class__ = _combined(fused, type(module))
    for source in sources:
        _install_rotation(sys.modules[source])


def _fused_class(module: nn.Module) -> type[Any] | None:
    """Return the class that computes a module in one operation; None where there is none."""
    if type(module) is LoraLinear:
        return _FusedLora
    for kind, fits in ((_FusedNorm, _is_norm), (_FusedMLP, _is_gated_mlp)):
        if not isinstance(module, kind) and fits(module) and _agrees(module, kind):
            return kind
    return None


def _combined(fused: type[Any], own: type[Any]) -> type[Any]:
    """Return a subclass of `own` whose `forward` is that of `fused`."""
    bases = fused, own
    if bases not in _COMBINED:
        _COMBINED[bases] = type(own.__name__, bases, {"__module__": own.__module__})
    return _COMBINED[bases]


def _agrees(module: nn.Module, kind: type[Any]) -> bool:
    """Return whether `kind` gives the same output as the module's own code, for random rows."""
    size = next(module.parameters()).shape[-1]
    rows = torch.randn(1, 3, size, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            theirs = module(rows)
            ours = _combined(kind, type(module)).forward(module, rows)
    except (RuntimeError, TypeError, AttributeError):
        return False
    return cpu_matmul.agree(ours, theirs)


def _plain(*tensors: torch.Tensor) -> bool:
    """Return whether these are plain fp32 tensors on the CPU, without autocast or sharding."""
    return not torch.is_autocast_enabled("cpu") and all(
        type(tensor) in (torch.Tensor, nn.Parameter)
        and tensor.dtype == torch.float32
        and tensor.device.type == "cpu"
        for tensor in tensors
    )


# RMS normalisation (arXiv:1910.07467)


def _is_norm(module: nn.Module) -> bool:
    names = [name for name, _ in module.named_parameters()]
    return (
        type(module).__name__.endswith("RMSNorm")
        and names == ["weight"]
        and isinstance(_epsilon(module), float)
        and not any(p.requires_grad or p.dim() != 1 for p in module.parameters())
        and _plain(*module.parameters())
    )


def _epsilon(module: nn.Module) -> Any:
    return getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)


class _FusedNorm(nn.Module):
    weight: torch.Tensor

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        if not _plain(hidden_states, self.weight):
            return super().forward(hidden_states)  # type: ignore[no-any-return]
        result: torch.Tensor = _Norm.apply(hidden_states, self.weight, _epsilon(self))  # type: ignore[no-untyped-call]
        return result


class _Norm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + epsilon) * weight, over the last dimension; the weight is frozen."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        scale = torch.rsqrt(rows.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(rows, weight, scale)
        return (rows * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        rows, weight, scale = ctx.saved_tensors
        gradient = outer[0] * weight
        projection = (gradient * rows).mean(-1, keepdim=True)
        gradient.mul_(scale)
        return gradient.addcmul_(rows, projection.mul_(scale.pow(3)), value=-1), None, None


# Rotary positions (arXiv:2104.09864)


def _install_rotation(source: ModuleType) -> None:
    """Replace the rotary function of a model's Python module where it rotates halves."""
    own = getattr(source, _ROTATION, None)
    if own is None or hasattr(own, "__wrapped__") or not _rotates_halves(own):
        return

    @wraps(own)
    def rotate(
        q: torch.Tensor,
        k: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        *rest: Any,
        **options: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if rest or options or not _plain(q, k, cos, sin) or cos.shape[-1] != q.shape[-1]:
            rotated: tuple[torch.Tensor, torch.Tensor] = own(q, k, cos, sin, *rest, **options)
            return rotated
        cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
        return _Rotation.apply(q, cos, sin), _Rotation.apply(k, cos, sin)  # type: ignore[no-untyped-call]

    setattr(source, _ROTATION, rotate)


def _rotates_halves(own: Any) -> bool:
    """Return whether `own` gives the same as `_Rotation`, for random tensors."""
    generator = torch.Generator().manual_seed(0)
    q, k, cos, sin = (
        torch.randn(size, generator=generator)
        for size in ((1, 2, 3, 8), (1, 1, 3, 8), (1, 3, 8), (1, 3, 8))
    )
    try:
        theirs = own(q, k, cos, sin)
        ours = [_Rotation.apply(t, cos.unsqueeze(1), sin.unsqueeze(1)) for t in (q, k)]  # type: ignore[no-untyped-call]
        return len(theirs) == 2 and all(map(cpu_matmul.agree, ours, theirs))
    except (RuntimeError, TypeError, IndexError):
        return False


class _Rotation(torch.autograd.Function):
    """x * cos + (-x2, x1) * sin, where x1 and x2 are the halves of the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        left, right = sin.chunk(2, -1)
        return _rotate(x, cos, left, right, 1)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        left, right = sin.chunk(2, -1)
        return _rotate(outer[0], cos, right, left, -1), None, None


def _rotate(
    x: torch.Tensor, cos: torch.Tensor, left: torch.Tensor, right: torch.Tensor, sign: int
) -> torch.Tensor:
    """x * cos + sign * (-x2 * left, x1 * right)."""
    half = x.shape[-1] // 2
    result = x * cos
    result[..., :half].addcmul_(x[..., half:], left, value=-sign)
    result[..., half:].addcmul_(x[..., :half], right, value=sign)
    return result


# Gated MLP: down(silu(gate(x)) * up(x)) (arXiv:2002.05202)


def _is_gated_mlp(module: nn.Module) -> bool:
    layers = dict(module.named_children())
    return (
        layers.keys() == {*_PROJECTIONS, "act_fn"}
        and all(type(layers[name]) is FrozenLinear for name in _PROJECTIONS)
        and all(getattr(layers[name], "bias", None) is None for name in _PROJECTIONS)
        and _plain(*module.parameters())
    )


class _FusedMLP(nn.Module):
    gate_proj: nn.Linear
    up_proj: nn.Linear
    down_proj: nn.Linear

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        weights = self.gate_proj.weight, self.up_proj.weight, self.down_proj.weight
        if not _plain(x, *weights):
            return super().forward(x)  # type: ignore[no-any-return]
        result: torch.Tensor = _GatedMLP.apply(x, *weights)  # type: ignore[no-untyped-call]
        return result


class _GatedMLP(torch.autograd.Function):
    """The whole MLP for some rows at a time, so that intermediate values stay in the cache."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, down: torch.Tensor
    ) -> torch.Tensor:
        rows = x.reshape(-1, x.shape[-1])
        result = rows.new_empty(rows.shape[0], down.shape[0])
        kept = []
        for piece in cpu_matmul.pieces(rows.shape[0]):
            gated, raised = cpu_matmul.times(rows[piece], gate), cpu_matmul.times(rows[piece], up)
            result[piece] = cpu_matmul.times(functional.silu(gated).mul_(raised), down)
            kept += [gated, raised]
        ctx.save_for_backward(gate, up, down, *kept)
        return result.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor, None, None, None]:
        gate, up, down, *kept = ctx.saved_tensors
        rows = outer[0].reshape(-1, outer[0].shape[-1])
        result = rows.new_empty(rows.shape[0], gate.shape[1])
        parts = cpu_matmul.pieces(rows.shape[0])
        for piece, gated, raised in zip(parts, kept[::2], kept[1::2], strict=True):
            gradient = cpu_matmul.times(rows[piece], down.t())
            to_raised = functional.silu(gated).mul_(gradient)
            to_gated = torch.ops.aten.silu_backward(gradient.mul_(raised), gated)
            torch.add(
                cpu_matmul.times(to_gated, gate.t()),
                cpu_matmul.times(to_raised, up.t()),
                out=result[piece],
            )
        return result.view(*outer[0].shape[:-1], -1), None, None, None


# LoRA (arXiv:2106.09685)


class _FusedLora(nn.Module):
    """PEFT's LoRA layer, in one operation for one plain adapter on a frozen layer."""

    def forward(self, x: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        layer: Any = self
        name = _only_adapter(layer)
        if args or options or name is None:
            return super().forward(x, *args, **options)  # type: ignore[no-any-return]
        base, down, up = layer.base_layer, layer.lora_A[name], layer.lora_B[name]
        tensors = [x, base.weight, down.weight, up.weight]
        if not _plain(*tensors):
            return super().forward(x)  # type: ignore[no-any-return]
        dropped = layer.lora_dropout[name](x)
        result: torch.Tensor = _Lora.apply(  # type: ignore[no-untyped-call]
            x, None if dropped is x else dropped, base.weight, base.bias,
            down.weight, up.weight, layer.scaling[name],
        )  # fmt: skip
        return result


def _only_adapter(layer: Any) -> str | None:
    """Return the adapter's name where this is one plain adapter on a frozen layer, else None."""
    active = layer.active_adapters
    if (
        len(active) != 1
        or layer.merged
        or layer.disable_adapters
        or layer.lora_variant
        or type(layer.base_layer) is not FrozenLinear
        or active[0] not in layer.lora_A
        or layer.lora_B[active[0]].bias is not None
    ):
        return None
    name: str = active[0]
    return name


class _Lora(torch.autograd.Function):
    """x W' + bias + scale * d A' B', where d is x after dropout."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        dropped: torch.Tensor | None,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        down: torch.Tensor,
        up: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:
        rows = (x if dropped is None else dropped).reshape(-1, x.shape[-1])
        narrow = rows @ down.t()
        result = cpu_matmul.times(x, weight, bias)
        result.view(-1, result.shape[-1]).addmm_(narrow, up.t(), alpha=scale)
        ctx.save_for_backward(rows, narrow, weight, down, up)
        ctx.scale, ctx.has_dropout = scale, dropped is not None
        return result

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        rows, narrow, weight, down, up = ctx.saved_tensors
        gradient = outer[0].reshape(-1, outer[0].shape[-1])
        size = (*outer[0].shape[:-1], weight.shape[1])
        inner = (gradient @ up).mul_(ctx.scale)
        to_down = inner.t() @ rows
        to_up = (gradient.t() @ narrow).mul_(ctx.scale)
        to_x = cpu_matmul.times(gradient, weight.t()) if ctx.needs_input_grad[0] else None
        to_dropped = None
        if ctx.has_dropout and ctx.needs_input_grad[1]:
            to_dropped = (inner @ down).view(size)
        elif to_x is not None and not ctx.has_dropout:
            to_x.addmm_(inner, down)
        to_x = None if to_x is None else to_x.view(size)
        return to_x, to_dropped, None, None, to_down, to_up, None
