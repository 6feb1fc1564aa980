"""Comparison of the weight changes of two adapters."""

from __future__ import annotations

import torch

from tui_trainer.contracts.chat.protocol import Comparison, LayerDifference
from tui_trainer.contracts.errors import UserError
from tui_trainer.models import lora_load
from tui_trainer.models.lora_load import ReadAdapter, Update


def compare(base: lora_load.Base, a: ReadAdapter, b: ReadAdapter) -> Comparison:
    """Compute norms and angle of two adapters' weight changes, over all layers and by layer.

    Computed in fp64 from the low-rank factors, without forming full matrices. Raises `UserError`
    for DoRA, whose change depends on the base.
    """
    for adapter in (a, b):
        if adapter.facts.dora:
            raise UserError(
                f"{adapter.facts.folder} is a DoRA adapter, and only plain LoRA adapters can be "
                "compared; choose another adapter"
            )
    layers = [layer for layer in base.layers if layer in a.updates or layer in b.updates]
    rows = [_measure(a.updates.get(layer), b.updates.get(layer)) for layer in layers]
    squares = [sum(row[i] ** 2 for row in rows) for i in range(3)]
    whole = (squares[0] ** 0.5, squares[1] ** 0.5, squares[2] ** 0.5, sum(row[3] for row in rows))
    return Comparison(
        whole=_difference("", whole),
        layers=[_difference(layer, row) for layer, row in zip(layers, rows, strict=True)],
    )


def _measure(a: Update | None, b: Update | None) -> tuple[float, float, float, float]:
    """Norm of each weight change, norm of their difference, and their inner product."""
    ups = [u.up.double() * u.scale for u in (a, b) if u is not None]
    downs = [u.down.double() for u in (a, b) if u is not None]
    # QR keeps lengths and angles, in as many dimensions as both adapters have ranks.
    up = torch.linalg.qr(torch.cat(ups, dim=1), mode="r").R
    down = torch.linalg.qr(torch.cat(downs, dim=0).T, mode="r").R
    rank = a.down.shape[0] if a is not None else 0
    small_a = up[:, :rank] @ down[:, :rank].T
    small_b = up[:, rank:] @ down[:, rank:].T
    norms = [torch.linalg.norm(m).item() for m in (small_a, small_b, small_a - small_b)]
    return norms[0], norms[1], norms[2], float((small_a * small_b).sum())


def _difference(layer: str, row: tuple[float, float, float, float]) -> LayerDifference:
    a, b, difference, inner = row
    cosine = max(-1.0, min(1.0, inner / (a * b))) if a * b > 0 else None
    return LayerDifference(layer=layer, a=a, b=b, difference=difference, cosine=cosine)
