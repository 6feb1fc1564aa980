"""The output layer and its loss without a table of all logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tui_trainer.models.kernels import cpu_matmul

# Positions and vocabulary entries whose logits exist at a time. On the CPU so few that they stay
# in the cache between one operation and the next, and enough for the products to be efficient;
# on a GPU as many as keep it busy (256 MiB in fp32).
_CPU_TILE = (256, 4096)
_GPU_TILE = (4096, 16384)


def cross_entropy(
    hidden: torch.Tensor,
    head: nn.Linear,
    targets: torch.Tensor,
    weights: torch.Tensor,
    *,
    count_hits: bool = False,
    token_losses: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum of weight times cross-entropy (nats, fp32) of a frozen output layer's predictions,
    and with `count_hits` the sum of the weights where the most probable token is the target.
    `token_losses` (positions), if given, is filled with each position's cross-entropy.

    `hidden` has the shape (positions, size), `targets` and `weights` (positions). The gradient
    with respect to `hidden` is taken along with the loss, tile by tile, so that logits are
    neither kept nor calculated twice: each tile's exponentials are relative to its own largest
    logit (the online softmax of arXiv:1805.02867), and what they give is scaled at the end.
    """
    kind = torch.get_autocast_dtype(hidden.device.type)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(kind)
    table, bias = head.weight.to(hidden.dtype), head.bias
    both: tuple[torch.Tensor, torch.Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, table, bias, targets, weights, count_hits, token_losses
    )
    return both


def is_plain(head: Any) -> bool:
    """Whether `cross_entropy` can take this output layer: linear, frozen, nothing around it."""
    return type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters())


class _LinearCrossEntropy(torch.autograd.Function):
    """Forward calculates loss and gradient of each tile; backward only scales."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        weights: torch.Tensor,
        count_hits: bool,
        token_losses: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        wanted = ctx.needs_input_grad[0]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        hits = torch.zeros_like(total)
        gradient = torch.empty_like(hidden) if wanted else None
        rows, _ = tile_size(hidden)
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            seen = _Seen(hidden[part], targets[part])
            for begin, columns in column_tiles(table, bias):
                seen.add(begin, *columns, wanted, count_hits)
            losses, slope = seen.finish(table)
            total += losses @ weights[part]
            if token_losses is not None:
                token_losses[part] = losses
            if count_hits:
                hits += seen.right() @ weights[part]
            if gradient is not None and slope is not None:
                gradient[part] = slope * weights[part, None]
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(hits)
        return total, hits

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None, None, None, None


class _Seen:
    """Some positions, and what their logits have come to so far."""

    def __init__(self, hidden: torch.Tensor, targets: torch.Tensor) -> None:
        self._hidden, self._targets = hidden, targets
        self._goal = torch.zeros(len(targets), dtype=torch.float32, device=hidden.device)
        self._tops: list[torch.Tensor] = []
        self._rests: list[torch.Tensor] = []
        self._logs: list[torch.Tensor] = []
        self._places: list[torch.Tensor] = []
        self._means: list[torch.Tensor] = []

    def add(
        self,
        begin: int,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        slope: bool,
        places: bool,
    ) -> None:
        """Takes in the vocabulary's entries from `begin` on: `table` (entries, size)."""
        logits = cpu_matmul.times(self._hidden, table, bias).float()
        column = (self._targets - begin).clamp(0, table.shape[0] - 1)[:, None]
        here = (self._targets - begin).eq(column[:, 0])
        self._goal = torch.where(here, logits.gather(1, column)[:, 0], self._goal)
        top = logits.amax(1)
        if places:
            self._places.append(logits.argmax(1) + begin)
        powers = logits.sub_(top[:, None]).exp_()
        # The goal's own part of the gradient comes at the end, from all the others: p W - W
        # would cancel where the goal is nearly certain.
        own = powers.gather(1, column)[:, 0]
        powers.scatter_(1, column, torch.where(here, 0.0, own)[:, None])
        rest = powers.sum(1)
        self._tops.append(top)
        self._rests.append(rest)
        self._logs.append(top + torch.where(here, rest + own, rest).log())
        if slope:
            self._means.append(cpu_matmul.times(powers.to(table.dtype), table.t(), None))

    def finish(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Each position's loss, and d loss / d hidden where it was asked for:
        sum over all entries but the goal of p W, and (p - 1) W of the goal."""
        whole = torch.logsumexp(torch.stack(self._logs), 0)
        losses = whole - self._goal
        if not self._means:
            return losses, None
        slope = torch.zeros(self._hidden.shape, dtype=torch.float32, device=self._hidden.device)
        others = torch.zeros_like(whole)
        for top, rest, mean in zip(self._tops, self._rests, self._means, strict=True):
            share = (top - whole).exp()
            slope.addcmul_(mean.float(), share[:, None])
            others += rest * share
        return losses, slope.addcmul_(table[self._targets].float(), others[:, None], value=-1)

    def right(self) -> torch.Tensor:
        """Where the most probable entry is the goal: 1, else 0."""
        best = torch.stack(self._tops).argmax(0, keepdim=True)
        return torch.stack(self._places).gather(0, best)[0].eq(self._targets).float()


def column_tiles(
    table: torch.Tensor, bias: torch.Tensor | None
) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor | None]]]:
    """The vocabulary tile by tile: where it begins, its part of the table and of the bias."""
    _, width = tile_size(table)
    for begin in range(0, table.shape[0], width):
        end = begin + width
        yield begin, (table[begin:end], None if bias is None else bias[begin:end])


def tile_size(tensor: torch.Tensor) -> tuple[int, int]:
    """Positions and vocabulary entries of a tile on the tensor's device."""
    return _CPU_TILE if tensor.device.type == "cpu" else _GPU_TILE
