"""Weights of a Llama-shaped model, arranged for the decoder without a second copy of them.

Matrices that multiply the same input (query, key and value; gate and up) lie in one tensor, and
the parameters of the transformers model become views of it: both use the same memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tui_trainer.models.kernels import cpu_matmul

# Model classes of transformers that differ only in what `pack` reads from them: biases, norms of
# queries and keys, heads, activation, positions.
_CLASSES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
# Position encodings whose angles do not depend on the length of the input.
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
# Rows from which the kernels of `cpu_matmul` may be faster.
_MANY_ROWS = 32


@dataclass(frozen=True)
class LowRank:
    """What adapters add to one matrix: `rows @ down @ up`; shapes (in, rank), (rank, out)."""

    down: torch.Tensor
    up: torch.Tensor


@dataclass(frozen=True, eq=False)
class Matrix:
    """One or several linear layers with the same input.

    layers: full names of the linear layers, in the order of their outputs.
    sizes: outputs of each.
    weight: shape (in, out).
    bias: shape (out), or None.
    """

    layers: tuple[str, ...]
    sizes: tuple[int, ...]
    weight: torch.Tensor
    bias: torch.Tensor | None

    def product(self, rows: torch.Tensor, added: LowRank | None) -> torch.Tensor:
        """`rows` (n, in) times the weights, with bias and what adapters add; shape (n, out)."""
        if rows.shape[0] >= _MANY_ROWS and cpu_matmul.pays(rows, self.weight.t()):
            result = cpu_matmul.product(rows, self.weight.t(), self.bias)
        elif self.bias is None:
            result = torch.mm(rows, self.weight)
        else:
            result = torch.addmm(self.bias, rows, self.weight)
        return result if added is None else _add(result, rows, added)

    def add_product(
        self, total: torch.Tensor, rows: torch.Tensor, added: LowRank | None
    ) -> torch.Tensor:
        """`total` (n, out), to which `product` is added in place."""
        if rows.shape[0] >= _MANY_ROWS and cpu_matmul.pays(rows, self.weight.t()):
            result = total.add_(cpu_matmul.product(rows, self.weight.t(), self.bias))
        else:
            result = total.addmm_(rows, self.weight)
            if self.bias is not None:
                result += self.bias
        return result if added is None else _add(result, rows, added)


def _add(result: torch.Tensor, rows: torch.Tensor, added: LowRank) -> torch.Tensor:
    if added.up.dtype == result.dtype:
        return result.addmm_(torch.mm(rows, added.down), added.up)
    # Adapters are fp32 on a base of lower precision too.
    return result.add_(torch.mm(torch.mm(rows.to(added.down.dtype), added.down), added.up))


class Norm:
    """A root mean square norm over the last dimension."""

    def __init__(self, weight: torch.Tensor, epsilon: float) -> None:
        self._weight = weight
        self._epsilon = epsilon
        # The sum of squares serves as their mean where the weights have this factor.
        size = weight.shape[0]
        self._scaled = weight * size**0.5 if weight.dtype == torch.float32 else None
        self._scaled_epsilon = weight.new_tensor(epsilon * size)  # a number is converted each time

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """The normed rows, in the same shape."""
        if self._scaled is None:
            plain: torch.Tensor = functional.rms_norm(
                rows, self._weight.shape, self._weight, self._epsilon
            )
            return plain
        # On a CPU `rms_norm` is a chain of fourteen operators; these are six.
        inverse: torch.Tensor = (
            (rows * rows).sum(-1, keepdim=True).add_(self._scaled_epsilon).rsqrt_()
        )
        normed: torch.Tensor = (rows * self._scaled).mul_(inverse)
        return normed


@dataclass(frozen=True)
class Layer:
    """One decoder layer; `query_norm` and `key_norm` act on each head, before the rotation."""

    attention_norm: Norm
    qkv: Matrix
    query_norm: Norm | None
    key_norm: Norm | None
    output: Matrix
    mlp_norm: Norm
    gate_up: Matrix
    activation: Callable[[torch.Tensor], torch.Tensor]
    down: Matrix


@dataclass(frozen=True)
class PackedWeights:
    """A model's weights in the order of its calculation.

    rotation: gives cosines and sines of positions, as the model's own module does.
    context: tokens that the model reads at most.
    """

    embedding: torch.Tensor
    layers: tuple[Layer, ...]
    norm: Norm
    head: Matrix
    heads: int
    key_heads: int
    head_size: int
    rotation: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    context: int

    def matrices(self) -> list[Matrix]:
        """Every matrix, in the order of the calculation."""
        inner = [m for layer in self.layers for m in (layer.qkv, layer.output, layer.gate_up,
                                                      layer.down)]  # fmt: skip
        return [*inner, self.head]


def pack(model: Any) -> PackedWeights | None:
    """Packs the weights of `model`, whose parameters become views of them; None for a model of
    another shape, which stays as it is."""
    if not _is_known(model):
        return None
    config, inner = model.config, model.model
    packer = _Packer({module: name for name, module in model.named_modules()})
    layers = []
    for layer in inner.layers:
        attention, mlp = layer.self_attn, layer.mlp
        layers.append(
            Layer(
                attention_norm=_norm(layer.input_layernorm),
                qkv=packer.matrix(attention.q_proj, attention.k_proj, attention.v_proj),
                query_norm=_optional_norm(attention, "q_norm"),
                key_norm=_optional_norm(attention, "k_norm"),
                output=packer.matrix(attention.o_proj),
                mlp_norm=_norm(layer.post_attention_layernorm),
                gate_up=packer.matrix(mlp.gate_proj, mlp.up_proj),
                activation=mlp.act_fn,
                down=packer.matrix(mlp.down_proj),
            )
        )
    head = packer.matrix(model.lm_head)
    first = inner.layers[0].self_attn
    return PackedWeights(
        embedding=inner.embed_tokens.weight.detach(),
        layers=tuple(layers),
        norm=_norm(inner.norm),
        head=head,
        heads=config.num_attention_heads,
        key_heads=config.num_key_value_heads,
        head_size=first.head_dim,
        rotation=inner.rotary_emb,
        context=config.max_position_embeddings,
    )


def _is_known(model: Any) -> bool:
    kind = type(model)
    if kind.__name__ not in _CLASSES or not kind.__module__.startswith("transformers.models."):
        return False
    config = model.config
    if (config.rope_parameters or {}).get("rope_type", "default") not in _ROPE_TYPES:
        return False
    kinds = getattr(config, "layer_types", None) or []
    windowed = getattr(config, "sliding_window", None) and kind.__name__ == "MistralForCausalLM"
    if windowed or any(kind != "full_attention" for kind in kinds):
        return False
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    first = linear[0].weight
    # Seven in each layer, and the head.
    return len(linear) == 7 * len(model.model.layers) + 1 and all(
        type(module) is nn.Linear
        and type(module.weight) is nn.Parameter
        and module.weight.dtype == first.dtype
        and module.weight.device == first.device
        for module in linear
    )


class _Packer:
    def __init__(self, names: dict[nn.Module, str]) -> None:
        self._names = names

    def matrix(self, *modules: Any) -> Matrix:
        """One tensor with the weights of `modules`, which become views of it."""
        weights = [module.weight for module in modules]
        sizes = tuple(weight.shape[0] for weight in weights)
        with torch.no_grad():
            packed = _storage(weights)
            at = 0
            for module, size in zip(modules, sizes, strict=True):
                part = packed[:, at : at + size].t()
                part.copy_(module.weight)
                module.weight.data = part
                at += size
            bias = _joined_bias(modules, sizes, packed)
        return Matrix(tuple(self._names[m] for m in modules), sizes, packed, bias)


def _storage(weights: Sequence[torch.Tensor]) -> torch.Tensor:
    """Uninitialised space of shape (in, sum of outputs), in the order in memory that is read
    fastest by the product of one row."""
    first = weights[0]
    inputs, outputs = first.shape[1], sum(weight.shape[0] for weight in weights)
    if first.device.type == "cpu" and first.dtype == torch.float32:
        # MKL reads (in, out) at almost the speed of the memory, (out, in) at about half of it.
        return first.new_empty(inputs, outputs)
    return first.new_empty(outputs, inputs).t()


def _joined_bias(
    modules: Sequence[Any], sizes: Sequence[int], like: torch.Tensor
) -> torch.Tensor | None:
    if all(module.bias is None for module in modules):
        return None
    parts = [
        like.new_zeros(size) if module.bias is None else module.bias.detach()
        for module, size in zip(modules, sizes, strict=True)
    ]
    return torch.cat(parts)


def _norm(module: Any) -> Norm:
    return Norm(module.weight.detach(), module.variance_epsilon)


def _optional_norm(attention: Any, name: str) -> Norm | None:
    module = getattr(attention, name, None)
    return None if module is None else _norm(module)
