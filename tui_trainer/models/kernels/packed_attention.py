"""Attention within segments of one row, so that examples stand side by side without padding.

The attention function is handed the segments' lengths with every call; it is one that
transformers' own `AttentionInterface` dispatches to, so that the rest of the model stays as it is.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

NAME = "tui_trainer_segments"
# What attention may be handed without a meaning for its result.
_HARMLESS = {"position_ids", "use_cache", "cache_position", "past_key_values"}
# Kinds of rotary scaling whose angles depend on the longest sequence of the whole batch.
_CHANGING_ROPE = ("dynamic", "longrope")
# Segments up to so many tokens are padded to each other whatever it costs, longer ones while
# there are at most so many times the tokens.
_SHORT, _WASTE = 32, 1.15
# A probe's largest difference from the padded pass, as a share of its largest value.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class SegmentGroup:
    """Neighbouring segments that attention takes in one call, each `longest` tokens: the first
    of them begins at `begin`, the last ends at `end`.

    Where they differ in length, `there` are the tokens of the padded segments in the row (the
    last token stands for padding) and `back` the places of the row's tokens among those. A
    causal mask keeps padding, which stands at the end, from every token of the segment.
    """

    begin: int
    end: int
    count: int
    longest: int
    there: torch.Tensor | None = None
    back: torch.Tensor | None = None


@dataclass(frozen=True)
class Segments:
    """Lengths of the segments of one row, in order; `bounds` (segments + 1, int32) on the
    device is where each begins, and the end."""

    lengths: tuple[int, ...]
    bounds: torch.Tensor

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device) -> Segments:
        """The segments of these lengths."""
        ends = torch.tensor([0, *lengths], dtype=torch.int32).cumsum(0, dtype=torch.int32)
        return cls(tuple(lengths), ends.to(device))

    @cached_property
    def groups(self) -> tuple[SegmentGroup, ...]:
        """The segments in calls of attention, where it has no kernel of its own for them."""
        return tuple(_groups(self.lengths, self.bounds.device))

    def positions(self) -> torch.Tensor:
        """Every token's place in its own segment, shape (1, tokens)."""
        parts = [torch.arange(length) for length in self.lengths]
        return torch.cat(parts).unsqueeze(0).to(self.bounds.device)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    segments: Segments | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of every segment to itself.

    `query` has the shape (1, heads, tokens, size), `key` and `value` may have fewer heads; the
    result has (1, tokens, heads, size).
    """
    odd = [
        name
        for name in others.keys() - _HARMLESS
        if others[name] is not None and others[name] is not False
    ]
    if segments is None or attention_mask is not None or odd:
        raise ValueError(f"attention within segments does not know {odd or 'this call'}")
    kernel = _variable_length_kernel(query)
    if kernel is not None and dropout == 0.0:
        return kernel(query, key, value, segments, scaling), None
    grouped = query.shape[1] != key.shape[1]
    parts = []
    for group in segments.groups:
        out = functional.scaled_dot_product_attention(
            _taken(query, group),
            _taken(key, group),
            _taken(value, group),
            is_causal=True,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=grouped,
        )
        parts.append(_given_back(out, group))
    return torch.cat(parts).unsqueeze(0) if len(parts) > 1 else parts[0].unsqueeze(0), None


def _groups(lengths: Sequence[int], device: torch.device) -> Iterator[SegmentGroup]:
    """Neighbours together while padding them costs little: calls are what short ones cost."""
    first = begin = 0
    while first < len(lengths):
        last, longest, total = first, lengths[first], lengths[first]
        while last + 1 < len(lengths):
            wider = max(longest, lengths[last + 1])
            padded = wider * (last + 2 - first)
            if wider > _SHORT and padded > _WASTE * (total + lengths[last + 1]):
                break
            last, longest, total = last + 1, wider, total + lengths[last + 1]
        yield _group(lengths[first : last + 1], begin, longest, device)
        begin += total
        first = last + 1


def _group(lengths: Sequence[int], begin: int, longest: int, device: torch.device) -> SegmentGroup:
    count, end = len(lengths), begin + sum(lengths)
    if all(length == longest for length in lengths):
        return SegmentGroup(begin, end, count, longest)
    sizes = torch.tensor(lengths).unsqueeze(1)
    starts = begin + torch.cumsum(sizes, 0) - sizes
    places = torch.arange(longest).unsqueeze(0)
    there = starts + torch.minimum(places, sizes - 1)
    back = torch.nonzero((places < sizes).flatten()).flatten()
    return SegmentGroup(begin, end, count, longest, there.flatten().to(device), back.to(device))


def _taken(whole: torch.Tensor, group: SegmentGroup) -> torch.Tensor:
    """A group's part of (1, heads, tokens, size) as (segments, heads, longest, size)."""
    rows = whole[0].transpose(0, 1)
    part = (
        rows[group.begin : group.end] if group.there is None else rows.index_select(0, group.there)
    )
    return part.reshape(group.count, group.longest, *rows.shape[1:]).transpose(1, 2)


def _given_back(out: torch.Tensor, group: SegmentGroup) -> torch.Tensor:
    """(segments, heads, longest, size) as the group's tokens (tokens, heads, size)."""
    rows = out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[3])
    return rows if group.back is None else rows.index_select(0, group.back)


AttentionInterface.register(NAME, attend)


def refusal(model: Any) -> str | None:
    """Why a causal model's examples cannot stand side by side in one row, or None.

    What can be known from the configuration is looked up, the rest is tried: two short segments
    must come out as they do alone.
    """
    config = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return "its attention cannot be replaced"
    if _slides(config):
        return "it attends within a sliding window"
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") in _CHANGING_ROPE:
        return "its rotary angles depend on the longest sequence"
    try:
        difference = _probe(model)
    except Exception as error:  # whatever a foreign model may do with what it does not know
        return f"it does not take segments ({type(error).__name__})"
    limit = _TOLERANCE.get(model.dtype, 0.0)
    return None if difference <= limit else f"its outputs would differ by {difference:.2g}"


def install(model: Any) -> None:
    """From now on the model attends within segments, and must be handed them."""
    model.config.get_text_config()._attn_implementation_internal = NAME


def _slides(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def _probe(model: Any) -> float:
    """The largest difference between two segments side by side and each alone, as a share of
    the largest value."""
    device = model.device
    most = min(model.config.get_text_config().vocab_size, 1000)
    ids = (torch.arange(12, device=device) * 37 % most).unsqueeze(0)
    segments = Segments.of((7, 5), device)
    config = model.config.get_text_config()
    before, training = config._attn_implementation, model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = [model.base_model(part, use_cache=False)[0] for part in ids.split((7, 5), 1)]
            config._attn_implementation_internal = NAME
            together = model.base_model(
                ids, position_ids=segments.positions(), segments=segments, use_cache=False
            )[0]
    finally:
        config._attn_implementation_internal = before
        model.train(training)
    apart = torch.cat(alone, dim=1).float()
    return float((together.float() - apart).abs().max() / apart.abs().max().clamp_min(1e-9))


Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Segments, float | None], torch.Tensor]


def _variable_length_kernel(query: torch.Tensor) -> Kernel | None:
    """torch's own attention over segments, where the device and the type have it: flash
    attention (arXiv:2307.08691), from Ampere on, for heads of up to 256 in eights."""
    size = query.shape[-1]
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return None
    if size > 256 or size % 8 or torch.cuda.get_device_capability(query.device) < (8, 0):
        return None
    return _torchs_kernel()


@cache
def _torchs_kernel() -> Kernel | None:
    try:
        varlen: Any = importlib.import_module("torch.nn.attention.varlen")
        return kernel_of(varlen.varlen_attn)
    except (ImportError, AttributeError):
        return None


def kernel_of(function: Callable[..., torch.Tensor]) -> Kernel:
    """`varlen_attn` as torch has it in each version: until 2.10 causal by a flag, which later
    became a window, with no scale of its own and as many key as query heads."""
    known = inspect.signature(function).parameters
    causal: dict[str, Any] = (
        {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    )

    def run(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, scale: float | None
    ) -> torch.Tensor:
        groups, longest = q.shape[1] // k.shape[1], max(segments.lengths)
        q, k, v = (t[0].transpose(0, 1) for t in (q, k, v))
        given = dict(causal)
        if "scale" in known:
            given["scale"] = scale
        elif scale is not None:
            q = q * (scale * q.shape[-1] ** 0.5)
        if groups > 1 and "enable_gqa" in known:
            given["enable_gqa"] = True
        elif groups > 1:
            k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
        bounds = segments.bounds
        return function(q, k, v, bounds, bounds, longest, longest, **given).unsqueeze(0)

    return run
