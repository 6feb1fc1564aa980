"""The KL divergence of two models' predictions without a table of all logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tui_trainer.models.kernels import cpu_matmul
from tui_trainer.models.kernels.linear_cross_entropy import column_tiles, tile_size


def kl_divergence(hidden: torch.Tensor, reference: torch.Tensor, head: nn.Linear) -> torch.Tensor:
    """Sum over positions of KL(q || p) in nats (fp32), where p and q are the predictions of a
    frozen output layer from `hidden` and from `reference`, both (positions, size).

    The gradient with respect to `hidden`, sum over the vocabulary of (p - q) W, is computed with
    the value, tile by tile, as in `linear_cross_entropy`; `reference` has none.
    """
    if torch.is_autocast_enabled(hidden.device.type):
        kind = torch.get_autocast_dtype(hidden.device.type)
        hidden, reference = hidden.to(kind), reference.to(kind)
    table = head.weight.to(hidden.dtype)
    total: torch.Tensor = _LinearKL.apply(hidden, reference.detach(), table, head.bias)  # type: ignore[no-untyped-call]
    return total


class _LinearKL(torch.autograd.Function):
    """Forward computes value and gradient of each tile; backward only scales."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        reference: torch.Tensor,
        table: torch.Tensor,
        bias: torch.Tensor | None,
    ) -> torch.Tensor:
        wanted = ctx.needs_input_grad[0]
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if wanted else None
        rows, _ = tile_size(hidden)
        for start in range(0, hidden.shape[0], rows):
            part = slice(start, start + rows)
            divergence, slope = _rows(hidden[part], reference[part], table, bias, wanted)
            total += divergence
            if gradient is not None and slope is not None:
                gradient[part] = slope
        ctx.save_for_backward(gradient)
        return total

    @staticmethod
    def backward(ctx: Any, *outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * outer[0].to(gradient.dtype), None, None, None


def _rows(
    hidden: torch.Tensor,
    reference: torch.Tensor,
    table: torch.Tensor,
    bias: torch.Tensor | None,
    wanted: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The divergence of some rows, and d divergence / d hidden where it is `wanted`.

    Each tile's exponentials are relative to its own largest logit and scaled at the end, when the
    sums over the whole vocabulary are known: KL = sum of q (log q - log p), where
    log q - log p = (logit of q - log of q's sum) - (logit of p - log of p's sum).
    """
    logs: list[tuple[torch.Tensor, torch.Tensor]] = []
    tops: list[tuple[torch.Tensor, torch.Tensor]] = []
    crosses: list[torch.Tensor] = []
    means: list[tuple[torch.Tensor, torch.Tensor]] = []
    for _, (part, part_bias) in column_tiles(table, bias):
        p = cpu_matmul.times(hidden, part, part_bias).float()
        q = cpu_matmul.times(reference, part, part_bias).float()
        apart = q - p
        top_p, top_q = p.amax(1), q.amax(1)
        p.sub_(top_p[:, None]).exp_()
        q.sub_(top_q[:, None]).exp_()
        tops.append((top_p, top_q))
        logs.append((top_p + p.sum(1).log(), top_q + q.sum(1).log()))
        crosses.append(apart.mul_(q).sum(1))
        if wanted:
            back = part.t()
            means.append(
                (
                    cpu_matmul.times(p.to(table.dtype), back),
                    cpu_matmul.times(q.to(table.dtype), back),
                )
            )
    whole_p = torch.logsumexp(torch.stack([log for log, _ in logs]), 0)
    whole_q = torch.logsumexp(torch.stack([log for _, log in logs]), 0)
    value = whole_p - whole_q
    slope = torch.zeros(hidden.shape, dtype=torch.float32, device=hidden.device) if wanted else None
    for index, (top_p, top_q) in enumerate(tops):
        share_q = (top_q - whole_q).exp()
        value = value + crosses[index] * share_q
        if slope is not None:
            mean_p, mean_q = means[index]
            slope.addcmul_(mean_p.float(), (top_p - whole_p).exp()[:, None])
            slope.addcmul_(mean_q.float(), share_q[:, None], value=-1)
    # Rounding must not make a divergence of nothing negative.
    return value.clamp_min(0.0).sum(), slope
