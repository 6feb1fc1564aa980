"""A decoder for Llama-shaped models: the same numbers as transformers', in far fewer calls.

At one conversation the time of a token is that of reading all weights once, plus the overhead of
calls; transformers makes about forty calls a layer, this module twelve.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch.nn import functional

from tui_trainer.models.serving.packed_weights import LowRank, Matrix, PackedWeights, pack

_GROWTH = 64  # tokens by which a cache grows at least
_CHECK_TOKENS = 12
# Largest difference of logits from transformers', relative to the largest logit.
_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class KeyValueCache:
    """Keys and values of the tokens that the model has read; all rows have the same length.

    keys, values: one tensor for each layer, shape (rows, key heads, capacity, head size).
    length: tokens in it.
    """

    def __init__(self, weights: PackedWeights, rows: int = 1) -> None:
        like, shape = weights.embedding, (rows, weights.key_heads, 0, weights.head_size)
        self.length = 0
        self.keys = [like.new_empty(shape) for _ in weights.layers]
        self.values = [like.new_empty(shape) for _ in weights.layers]

    def reserve(self, tokens: int) -> None:
        """Makes room for so many more tokens."""
        needed = self.length + tokens
        capacity = self.keys[0].shape[2]
        if needed <= capacity:
            return
        capacity = max(needed, capacity + _GROWTH, capacity + capacity // 4)
        for tensors in (self.keys, self.values):
            for at, old in enumerate(tensors):
                new = old.new_empty(*old.shape[:2], capacity, old.shape[3])
                new[:, :, : self.length] = old[:, :, : self.length]
                tensors[at] = new

    def truncate(self, length: int) -> None:
        """Forgets all tokens after the first `length`."""
        self.length = min(self.length, length)

    def select(self, rows: Sequence[int]) -> None:
        """Keeps these rows, in this order; one may be repeated."""
        index = torch.tensor(rows, device=self.keys[0].device)
        for tensors in (self.keys, self.values):
            for at, old in enumerate(tensors):
                tensors[at] = old.index_select(0, index)


class ActiveUpdates:
    """What the active adapters add: `key` identifies them, `by_matrix` has the update of every
    matrix that they change."""

    def __init__(self, key: Hashable, by_matrix: Mapping[Matrix, LowRank]) -> None:
        self.key = key
        self.by_matrix = by_matrix


class Decoder:
    """Calculates logits from the packed weights of a model, with or without adapters."""

    def __init__(self, weights: PackedWeights) -> None:
        self.weights = weights
        self.suspended = False
        """Whether the active adapters are of a kind that it does not know."""
        self._cos, self._sin = self._angles(0)
        self.activate(None)

    def activate(self, updates: ActiveUpdates | None) -> None:
        """Uses these updates from the next call on; None is the base alone."""
        self.active_key: Hashable = None if updates is None else updates.key
        found: Mapping[Matrix, LowRank] = {} if updates is None else updates.by_matrix
        get = found.get
        self._layers = [
            (layer, get(layer.qkv), get(layer.output), get(layer.gate_up), get(layer.down))
            for layer in self.weights.layers
        ]
        self._head_update = get(self.weights.head)

    def logits(
        self,
        ids: torch.Tensor,
        cache: KeyValueCache,
        positions: torch.Tensor | None = None,
        mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Reads `ids` (rows, tokens) after what `cache` holds, and gives the logits of what
        follows the last of each row, shape (rows, vocabulary).

        `positions` (rows, tokens) are needed where rows are padded; `mask` tells for each row
        and token which cached tokens it sees, shape (rows, tokens, cached and new tokens).
        """
        weights = self.weights
        rows, tokens = ids.shape
        start, end = cache.length, cache.length + tokens
        cache.reserve(tokens)
        self._extend_angles(end)
        if positions is None:
            cos, sin = self._cos[None, start:end, None], self._sin[None, start:end, None]
        else:
            cos, sin = self._cos[positions].unsqueeze(2), self._sin[positions].unsqueeze(2)
        if mask is None and tokens > 1 and start > 0:
            mask = _causal(start, tokens, ids.device)[None]
        x = functional.embedding(ids.reshape(-1), weights.embedding)
        for (layer, qkv, output, gate_up, down), keys, values in zip(
            self._layers, cache.keys, cache.values, strict=True
        ):
            mixed = layer.qkv.product(layer.attention_norm(x), qkv)
            attended = self._attend(
                layer, mixed.view(rows, tokens, -1, weights.head_size), cos, sin, keys, values,
                start, end, mask,
            )  # fmt: skip
            x = layer.output.add_product(x, attended, output)
            both = layer.gate_up.product(layer.mlp_norm(x), gate_up)
            gate, up = torch.split_with_sizes(both, layer.gate_up.sizes, 1)
            x = layer.down.add_product(x, layer.activation(gate).mul_(up), down)
        cache.length = end
        last = x.view(rows, tokens, -1)[:, -1]
        return weights.head.product(weights.norm(last), self._head_update)

    def _attend(
        self,
        layer: Any,
        mixed: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        keys: torch.Tensor,
        values: torch.Tensor,
        start: int,
        end: int,
        mask: torch.Tensor | None,
    ) -> torch.Tensor:
        """Attention of new tokens to all; `mixed` (rows, tokens, heads, size) are their queries,
        keys and values. Returns shape (rows * tokens, size of all query heads)."""
        heads, key_heads, size = self.weights.heads, self.weights.key_heads, self.weights.head_size
        rows, tokens = mixed.shape[:2]
        turned, new_values = torch.split_with_sizes(mixed, (heads + key_heads, key_heads), 2)
        if layer.query_norm is not None:
            queries, new_keys = torch.split_with_sizes(turned, (heads, key_heads), 2)
            turned = torch.cat([layer.query_norm(queries), layer.key_norm(new_keys)], 2)
        # The sines of the first half are negative: this is cos * x + sin * rotate_half(x).
        first, second = turned.chunk(2, -1)
        turned = torch.addcmul(turned * cos, torch.cat((second, first), -1), sin)
        queries, new_keys = torch.split_with_sizes(turned, (heads, key_heads), 2)
        keys.narrow(2, start, tokens).copy_(new_keys.transpose(1, 2))
        values.narrow(2, start, tokens).copy_(new_values.transpose(1, 2))
        keys, values = keys.narrow(2, 0, end), values.narrow(2, 0, end)
        if tokens == 1:  # query heads that share a key head are passed as its queries
            queries = queries.reshape(rows, key_heads, heads // key_heads, size)
            attended = functional.scaled_dot_product_attention(
                queries, keys, values, attn_mask=None if mask is None else mask.unsqueeze(1)
            )
            return attended.reshape(rows, heads * size)
        attended = functional.scaled_dot_product_attention(
            queries.transpose(1, 2),
            keys,
            values,
            attn_mask=None if mask is None else mask.unsqueeze(1),
            is_causal=mask is None,
            enable_gqa=heads != key_heads,
        )
        return attended.transpose(1, 2).reshape(rows * tokens, heads * size)

    def _extend_angles(self, tokens: int) -> None:
        if tokens > self._cos.shape[0]:
            self._cos, self._sin = self._angles(max(tokens, 2 * self._cos.shape[0], 256))

    def _angles(self, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Cosines and sines of positions, shape (tokens, head size), the sines of the first half
        negated."""
        like = self.weights.embedding
        cos, sin = self.weights.rotation(like[:1], torch.arange(tokens, device=like.device)[None])
        sin = sin[0].clone()
        sin[:, : sin.shape[1] // 2] *= -1
        return cos[0], sin


@torch.inference_mode()
def decoder_for(model: Any) -> Decoder | None:
    """A decoder that gives the same logits as `model`, or None where there is none.

    Parameters of `model` become views of the packed weights; its own results do not change.
    """
    with torch.inference_mode(False):
        weights = pack(model)
    if weights is None:
        return None
    decoder = Decoder(weights)
    return decoder if _agrees(decoder, model) else None


def _agrees(decoder: Decoder, model: Any) -> bool:
    """Whether the logits are those of transformers, after a prompt and after one more token."""
    vocabulary = decoder.weights.embedding.shape[0]
    chance = torch.Generator().manual_seed(0)
    ids = torch.randint(vocabulary, (1, _CHECK_TOKENS), generator=chance).to(model.device)
    right = model(input_ids=ids).logits[0, -2:].float()
    cache = KeyValueCache(decoder.weights)
    ours = torch.cat([decoder.logits(ids[:, :-1], cache), decoder.logits(ids[:, -1:], cache)])
    tolerance = _TOLERANCE.get(decoder.weights.embedding.dtype)
    if tolerance is None or ours.shape != right.shape:
        return False
    return bool((ours.float() - right).abs().max() <= tolerance * right.abs().max())


def _causal(start: int, tokens: int, device: torch.device) -> torch.Tensor:
    """Which of `start + tokens` tokens each of the last `tokens` sees: itself and those before."""
    columns = torch.arange(start + tokens, device=device)
    return columns[None, :] <= columns[start:, None]
