"""Attention within the segments of one row, so that examples are packed without padding.

The attention function gets the segments' lengths in every call. It is registered in transformers'
`AttentionInterface`, so that the rest of the model stays unchanged.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch.nn import functional
from transformers import AttentionInterface

from tui_trainer.text.formats import number

NAME = "tui_trainer_segments"
# Arguments of attention that do not affect the result.
_HARMLESS = {"position_ids", "use_cache", "cache_position", "past_key_values"}
# Kinds of rotary scaling whose angles depend on the longest sequence of the whole batch.
_CHANGING_ROPE = ("dynamic", "longrope")
# Segments of up to `_SHORT` tokens are always padded to the same length, longer ones as long as
# padding gives at most `_WASTE` times the tokens.
_SHORT, _WASTE = 32, 1.15
# Largest difference from a pass without packing, relative to the largest value.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class SegmentGroup:
    """Consecutive segments that attention computes in one call, padded to the same length.

    Padding is at the end of a segment, so that the causal mask hides it from all tokens. The two
    index tensors are None where the segments stand in the row as they are.
    """

    start: int  # first token in the row
    end: int  # last token in the row, exclusive
    count: int  # segments
    longest: int  # tokens of the longest segment, a shared prefix included
    padded: torch.Tensor | None = None  # (count * longest,): the row's token for each padded one
    unpadded: torch.Tensor | None = None  # (end - start,): the padded position of each token


@dataclass(frozen=True)
class Segments:
    """The segments of one row, in order.

    With a shared `prefix` the first so many tokens of all segments are the same, and stand in the
    row only once, in the first segment: under a causal mask their values do not depend on what
    follows.
    """

    lengths: tuple[int, ...]  # tokens of each, the prefix included
    bounds: torch.Tensor  # (segments + 1,), int32, on the device: starts of the segments, and end
    prefix: int = 0  # tokens

    @classmethod
    def of(cls, lengths: Sequence[int], device: torch.device, prefix: int = 0) -> Segments:
        """Return segments of these lengths that share a prefix of so many tokens."""
        ends = torch.tensor([0, *lengths], dtype=torch.int32)
        ends[2:] -= prefix
        return cls(tuple(lengths), ends.cumsum(0, dtype=torch.int32).to(device), prefix)

    @cached_property
    def groups(self) -> tuple[SegmentGroup, ...]:
        """The segments by call of attention, for devices without a kernel for segments."""
        return tuple(_groups(self))

    def positions(self) -> torch.Tensor:
        """Return each token's position in its segment, shape (1, tokens)."""
        parts = [
            torch.arange(self.prefix if number else 0, length)
            for number, length in enumerate(self.lengths)
        ]
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
    """Compute causal attention within each segment.

    `query` has the shape (1, heads, tokens, size), `key` and `value` may have fewer heads; the
    result has (1, tokens, heads, size). Raises `ValueError` for unknown arguments.
    """
    unknown = [
        name
        for name in others.keys() - _HARMLESS
        if others[name] is not None and others[name] is not False
    ]
    if segments is None or attention_mask is not None or unknown:
        raise ValueError(f"packed attention does not support {unknown or 'this call'}")
    kernel = _variable_length_kernel(query)
    if kernel is not None and dropout == 0.0 and not segments.prefix:
        return kernel(query, key, value, segments, scaling), None
    grouped = query.shape[1] != key.shape[1]
    parts = []
    for group in segments.groups:
        out = functional.scaled_dot_product_attention(
            _pad(query, group),
            _pad(key, group),
            _pad(value, group),
            is_causal=True,
            dropout_p=dropout,
            scale=scaling,
            enable_gqa=grouped,
        )
        parts.append(_unpad(out, group))
    return torch.cat(parts).unsqueeze(0) if len(parts) > 1 else parts[0].unsqueeze(0), None


def _groups(segments: Segments) -> Iterator[SegmentGroup]:
    """Group consecutive segments as long as padding them costs less than further calls."""
    first, lengths = 0, segments.lengths
    while first < len(lengths):
        last, longest, total = first, lengths[first], lengths[first]
        while last + 1 < len(lengths):
            wider = max(longest, lengths[last + 1])
            padded = wider * (last + 2 - first)
            if wider > _SHORT and padded > _WASTE * (total + lengths[last + 1]):
                break
            last, longest, total = last + 1, wider, total + lengths[last + 1]
        yield _group(segments, first, last + 1)
        first = last + 1


def _group(segments: Segments, first: int, end: int) -> SegmentGroup:
    """Return the group of the segments from `first` to `end` (exclusive)."""
    lengths, prefix, device = segments.lengths[first:end], segments.prefix, segments.bounds.device
    count, longest = len(lengths), max(lengths)
    bounds = segments.bounds[first : end + 1].long().cpu()
    start, stop = int(bounds[0]), int(bounds[-1])
    if not prefix and all(length == longest for length in lengths):
        return SegmentGroup(start, stop, count, longest)
    sizes = torch.tensor(lengths).unsqueeze(1)
    # Tokens of the prefix that stand before each segment instead of in it.
    shared = torch.full_like(sizes, prefix)
    if first == 0:
        shared[0] = 0
    positions = torch.arange(longest).unsqueeze(0)
    own = bounds[:-1].unsqueeze(1) - shared + torch.minimum(positions, sizes - 1)
    padded = torch.where(positions < shared, positions, own)  # the last token serves as padding
    unpadded = torch.nonzero(((positions >= shared) & (positions < sizes)).flatten()).flatten()
    return SegmentGroup(
        start, stop, count, longest, padded.flatten().to(device), unpadded.to(device)
    )


def _pad(row: torch.Tensor, group: SegmentGroup) -> torch.Tensor:
    """Return a group's part of (1, heads, tokens, size) as (segments, heads, longest, size)."""
    rows = row[0].transpose(0, 1)
    if group.padded is None:
        part = rows[group.start : group.end]
    else:
        part = rows.index_select(0, group.padded)
    return part.reshape(group.count, group.longest, *rows.shape[1:]).transpose(1, 2)


def _unpad(out: torch.Tensor, group: SegmentGroup) -> torch.Tensor:
    """Return (segments, heads, longest, size) as the group's tokens (tokens, heads, size)."""
    rows = out.transpose(1, 2).reshape(-1, out.shape[1], out.shape[3])
    return rows if group.unpadded is None else rows.index_select(0, group.unpadded)


AttentionInterface.register(NAME, attend)


def refusal(model: Any) -> str | None:
    """Return why a causal model's examples cannot be packed into one row, or None.

    Known from the configuration, or tested: two packed segments must give the same outputs as each
    alone.
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
    except Exception as error:  # a model may fail in any way on arguments that it does not know
        return f"it does not support packing ({type(error).__name__})"
    limit = _TOLERANCE.get(model.dtype, 0.0)
    return None if difference <= limit else f"its outputs would differ by {number(difference, 2)}"


def install(model: Any) -> None:
    """Make the model use attention within segments; every call must then have `segments`."""
    config = model.config.get_text_config()
    if config._attn_implementation != NAME:
        model._attention_before_packing = config._attn_implementation
    config._attn_implementation_internal = NAME


@contextlib.contextmanager
def without(model: Any) -> Iterator[None]:
    """Let the model use its own attention for a while, as generating text needs it."""
    config = model.config.get_text_config()
    if config._attn_implementation != NAME:
        yield
        return
    config._attn_implementation_internal = model._attention_before_packing
    try:
        yield
    finally:
        config._attn_implementation_internal = NAME


def _slides(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        return any(kind != "full_attention" for kind in kinds)
    return getattr(config, "sliding_window", None) is not None


def _probe(model: Any) -> float:
    """Return the largest difference between two packed segments and each alone, relative to the
    largest value."""
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
            packed = model.base_model(
                ids, position_ids=segments.positions(), segments=segments, use_cache=False
            )[0]
    finally:
        config._attn_implementation_internal = before
        model.train(training)
    expected = torch.cat(alone, dim=1).float()
    difference = (packed.float() - expected).abs().max()
    return float(difference / expected.abs().max().clamp_min(1e-9))


Kernel = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, Segments, float | None], torch.Tensor]


def _variable_length_kernel(query: torch.Tensor) -> Kernel | None:
    """Return torch's attention over segments where device and type support it: flash attention
    (arXiv:2307.08691), for Ampere and later and head sizes up to 256 in multiples of 8."""
    size = query.shape[-1]
    if query.device.type != "cuda" or query.dtype not in (torch.bfloat16, torch.float16):
        return None
    if size > 256 or size % 8 or torch.cuda.get_device_capability(query.device) < (8, 0):
        return None
    return _torch_kernel()


@cache
def _torch_kernel() -> Kernel | None:
    try:
        varlen: Any = importlib.import_module("torch.nn.attention.varlen")
        return kernel_of(varlen.varlen_attn)
    except (ImportError, AttributeError):
        return None


def kernel_of(function: Callable[..., torch.Tensor]) -> Kernel:
    """Adapt torch's `varlen_attn`, whose arguments differ between versions: until 2.10 a flag makes
    it causal, later a window; early versions have no scale and need as many key as query heads."""
    known = inspect.signature(function).parameters
    causal: dict[str, Any] = (
        {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    )

    def run(
        q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, segments: Segments, scale: float | None
    ) -> torch.Tensor:
        groups, longest = q.shape[1] // k.shape[1], max(segments.lengths)
        q, k, v = (t[0].transpose(0, 1) for t in (q, k, v))
        options = dict(causal)
        if "scale" in known:
            options["scale"] = scale
        elif scale is not None:
            q = q * (scale * q.shape[-1] ** 0.5)
        if groups > 1 and "enable_gqa" in known:
            options["enable_gqa"] = True
        elif groups > 1:
            k, v = (t.repeat_interleave(groups, dim=1) for t in (k, v))
        bounds = segments.bounds
        return function(q, k, v, bounds, bounds, longest, longest, **options).unsqueeze(0)

    return run
