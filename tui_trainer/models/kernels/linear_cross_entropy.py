"""Output layer and cross-entropy in one operation, without a matrix of all logits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from tui_trainer.models.kernels import cpu_matmul

# Positions and vocabulary entries per tile of logits. On the CPU a tile fits into the cache, and
# is large enough for efficient products; on a GPU it is large enough to use it fully (256 MiB in
# fp32).
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
    """Return the sum of weight times cross-entropy (nats, fp32) of a frozen output layer's
    predictions, and the sum of the weights where the most probable token is the target. Of several
    most probable tokens any counts, as only largest logits are compared, which costs next to
    nothing; with `count_hits` only the first counts, as with `argmax`. `token_losses` (positions,),
    if given, is filled with each position's cross-entropy.

    `hidden` has the shape (positions, size), `targets` and `weights` (positions,). The gradient
    with respect to `hidden` is computed together with the loss, tile by tile, so that logits are
    neither stored nor computed twice: the exponentials of each tile are relative to its largest
    logit (online softmax, arXiv:1805.02867), and their sums are rescaled at the end.
    """
    kind = torch.get_autocast_dtype(hidden.device.type)
    if torch.is_autocast_enabled(hidden.device.type):
        hidden = hidden.to(kind)
    table, bias = head.weight.to(hidden.dtype), head.bias
    sums: tuple[torch.Tensor, torch.Tensor] = _LinearCrossEntropy.apply(  # type: ignore[no-untyped-call]
        hidden, table, bias, targets, weights, count_hits, token_losses
    )
    return sums


def is_plain(head: Any) -> bool:
    """Return whether `cross_entropy` supports this output layer: plain linear and frozen."""
    return type(head) is nn.Linear and not any(p.requires_grad for p in head.parameters())


class _LinearCrossEntropy(torch.autograd.Function):
    """The forward pass computes loss and gradient of each tile; the backward pass only scales."""

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
            sums = _OnlineSoftmax(hidden[part], targets[part])
            for start_column, columns in column_tiles(table, bias):
                sums.add(start_column, *columns, wanted, count_hits)
            losses, slope = sums.finish(table)
            total += losses @ weights[part]
            if token_losses is not None:
                token_losses[part] = losses
            hits += (sums.hits() if count_hits else sums.most_probable()) @ weights[part]
            if gradient is not None and slope is not None:
                gradient[part] = slope * weights[part, None]
        ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(hits)
        return total, hits

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None, None, None, None


class _OnlineSoftmax:
    """Losses and gradients of some positions, accumulated over tiles of the vocabulary."""

    def __init__(self, hidden: torch.Tensor, targets: torch.Tensor) -> None:
        self._hidden, self._targets = hidden, targets
        # Logits of the targets, shape (positions,).
        self._target = torch.zeros(len(targets), dtype=torch.float32, device=hidden.device)
        # For each tile, shape (positions,): the largest logit and its index in the vocabulary, the
        # sum of the exponentials without the target's, and the logarithm of the sum of all.
        self._tops: list[torch.Tensor] = []
        self._indices: list[torch.Tensor] = []
        self._rests: list[torch.Tensor] = []
        self._logs: list[torch.Tensor] = []
        # For each tile, shape (positions, size): the exponentials times the rows of the table.
        self._means: list[torch.Tensor] = []

    def add(
        self,
        start: int,
        table: torch.Tensor,
        bias: torch.Tensor | None,
        slope: bool,
        indices: bool,
    ) -> None:
        """Add the tile `table` (entries, size), which starts at entry `start` of the vocabulary."""
        logits = cpu_matmul.times(self._hidden, table, bias).float()
        column = (self._targets - start).clamp(0, table.shape[0] - 1)[:, None]
        here = (self._targets - start).eq(column[:, 0])  # whether the target is in this tile
        self._target = torch.where(here, logits.gather(1, column)[:, 0], self._target)
        top = logits.amax(1)
        if indices:
            self._indices.append(logits.argmax(1) + start)
        powers = logits.sub_(top[:, None]).exp_()
        # The target's part of the gradient is computed in `finish` from the other entries, since
        # p W - W would lose precision where the target is nearly certain.
        own = powers.gather(1, column)[:, 0]
        powers.scatter_(1, column, torch.where(here, 0.0, own)[:, None])
        rest = powers.sum(1)
        self._tops.append(top)
        self._rests.append(rest)
        self._logs.append(top + torch.where(here, rest + own, rest).log())
        if slope:
            self._means.append(cpu_matmul.times(powers.to(table.dtype), table.t(), None))

    def finish(self, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return each position's loss, and d loss / d hidden where it was requested: the sum of p W
        over all entries but the target, plus (p - 1) W of the target."""
        total = torch.logsumexp(torch.stack(self._logs), 0)
        losses = total - self._target
        if not self._means:
            return losses, None
        slope = torch.zeros(self._hidden.shape, dtype=torch.float32, device=self._hidden.device)
        others = torch.zeros_like(total)
        for top, rest, mean in zip(self._tops, self._rests, self._means, strict=True):
            share = (top - total).exp()
            slope.addcmul_(mean.float(), share[:, None])
            others += rest * share
        return losses, slope.addcmul_(table[self._targets].float(), others[:, None], value=-1)

    def most_probable(self) -> torch.Tensor:
        """Return 1 where no entry is more probable than the target, else 0; shape (positions,)."""
        return self._target.ge(torch.stack(self._tops).amax(0)).float()

    def hits(self) -> torch.Tensor:
        """Return 1 where the most probable entry is the target, else 0; shape (positions,)."""
        best = torch.stack(self._tops).argmax(0, keepdim=True)
        return torch.stack(self._indices).gather(0, best)[0].eq(self._targets).float()


def column_tiles(
    table: torch.Tensor, bias: torch.Tensor | None
) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor | None]]]:
    """Yield the vocabulary in tiles: the first entry, and the rows of table and bias."""
    _, width = tile_size(table)
    for start in range(0, table.shape[0], width):
        end = start + width
        yield start, (table[start:end], None if bias is None else bias[start:end])


def tile_size(tensor: torch.Tensor) -> tuple[int, int]:
    """Positions and vocabulary entries of a tile on the tensor's device."""
    return _CPU_TILE if tensor.device.type == "cpu" else _GPU_TILE
