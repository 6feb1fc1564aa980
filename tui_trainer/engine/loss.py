"""The loss of a batch."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from tui_trainer.engine.batches import Batch


def weighted_sum(model: Any, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over learned tokens of weight times cross-entropy (nats), and of weight times
    "predicted exactly" (0/1); both scalars in fp32.

    Divided by the weights' sum over the whole optimizer step this is the mean per learned
    token, whatever the split into forward passes (averaging each pass by itself is the mistake
    of transformers#34191). Only learned positions are turned into probabilities.
    """
    logits = model(
        input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False
    ).logits[:, :-1]
    chosen = batch.weights > 0
    weights = batch.weights[chosen]
    picked = logits[chosen].float()
    targets = batch.input_ids[:, 1:][chosen]
    losses = functional.cross_entropy(picked, targets, reduction="none")
    with torch.no_grad():
        hits = (picked.argmax(dim=-1) == targets).float()
    return (losses * weights).sum(), (hits * weights).sum()
