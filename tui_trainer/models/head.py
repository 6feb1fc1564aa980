"""The output layer and its loss without a table of all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Bytes of fp32 logits that exist at a time; enough rows that the multiplication stays efficient.
CHUNK_BYTES = 48 << 20
LEAST_ROWS = 64
# Room for one chunk on the CPU, used again and again: fresh pages cost more than the arithmetic.
_ROOM: dict[tuple[torch.dtype, int], torch.Tensor] = {}


def cross_entropy(
    hidden: torch.Tensor,
    head: nn.Linear,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    count_hits: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of weight times cross-entropy (nats, fp32) of a frozen output layer's predictions,
    and with `count_hits` the sum of the weights where the most probable token is the target.

    `hidden` has the shape (positions, size), `targets` and `weights` (positions). The gradient
    with respect to `hidden` is taken along with the loss, chunk by chunk, so that logits are
    neither kept nor calculated twice.
    """
    kind = torch.get_autocast_dtype(hidden.device.type)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(kind)
    table, bias = head.weight.to(hidden.dtype), head.bias
    both: tuple[torch.Tensor, torch.Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, table, bias, targets, weights, count_hits
    )
    return both


def is_plain(head: Any) -> bool:
    """Whether `cross_entropy` can take this output layer: linear, frozen, nothing around it."""
    return type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters())


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward calculates loss and gradient of each chunk; backward only scales."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        weights: torch.Tensor,
        count_hits: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hits = torch.zeros_like(total)
        gradient = torch.empty_like(hidden) if wanted else None
        rows = max(LEAST_ROWS, CHUNK_BYTES // (4 * table.shape[0]))
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            goal, weight = targets[part], weights[part]
            logits = _logits(hidden[part], table, bias)
            chances = _softmax(logits)
            # log sum exp, exact even where a target's own probability underflows
            total_log = logits.amax(1) - chances.amax(1).log()
            losses = total_log - logits.gather(1, goal[:, None]).squeeze(1)
            total += (losses * weight).sum()
            if count_hits:
                hits += (logits.argmax(dim=-1) == goal).to(weight.dtype) @ weight
            if gradient is not None:
                # d/dh of -w log p(goal) is w (p - 1 at the goal) W; the 1 is taken off here,
                # since p W and W[goal] would cancel where the goal is nearly certain.
                chances[torch.arange(len(goal), device=goal.device), goal] -= 1.0
                expected = chances.to(hidden.dtype) @ table
                gradient[part] = expected * weight[:, None].to(hidden.dtype)
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(hits)
        return total, hits

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None, None, None


def _logits(hidden: torch.Tensor, table: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The output layer's values in fp32, shape (positions, vocabulary)."""
    if hidden.device.type != "cpu":
        return nn.functional.linear(hidden, table, bias).float()
    room = _room(hidden, table, hidden.dtype, 0)
    logits = torch.mm(hidden, table.t(), out=room)
    if bias is not None:
        logits += bias
    if logits.dtype != torch.float32:
        logits = _room(hidden, table, torch.float32, 0).copy_(logits)
    return logits


def _softmax(logits: torch.Tensor) -> torch.Tensor:
    if logits.device.type != "cpu":
        return torch.softmax(logits, dim=-1)
    room = _room(logits, logits.t(), torch.float32, 1)
    return torch.softmax(logits, dim=-1, out=room)


def _room(rows: torch.Tensor, table: torch.Tensor, kind: torch.dtype, which: int) -> torch.Tensor:
    """A table of one row for each of `rows` and one column for each of `table`'s rows."""
    size = rows.shape[0] * table.shape[0]
    kept = _ROOM.get((kind, which))
    if kept is None or kept.numel() < size:
        kept = _ROOM[kind, which] = torch.empty(size, dtype=kind)
    return kept[:size].view(rows.shape[0], table.shape[0])
