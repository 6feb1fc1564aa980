"""How far the adapter moves the model from the base's own answers."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from tui_trainer.engine.data.batching import Batch
from tui_trainer.engine.loss import ForwardMode, model_inputs
from tui_trainer.models.kernels import linear_kl


def divergence(model: Any, batch: Batch, mode: ForwardMode) -> torch.Tensor:
    """Return the sum over the batch's learned tokens of KL(base || model) in nats: how far the
    model with its adapter is from the base, which is the same model with its adapter disabled.

    Scalar in fp32. Costs a second forward pass, without a gradient.
    """
    causal = model.get_base_model()
    inputs = model_inputs(batch)
    with torch.no_grad(), model.disable_adapter():
        reference = _outputs(causal, inputs, batch, mode)
    outputs = _outputs(causal, inputs, batch, mode)
    if mode.learned_logits_only:
        return linear_kl.kl_divergence(outputs, reference, causal.get_output_embeddings())
    return functional.kl_div(
        outputs.float().log_softmax(-1),
        reference.float().log_softmax(-1),
        log_target=True,
        reduction="sum",
    )


def _outputs(causal: Any, inputs: dict[str, Any], batch: Batch, mode: ForwardMode) -> torch.Tensor:
    """Return the inputs of the output layer for each learned prediction, or the logits if the base
    computes them itself; shape (learned tokens, size or vocabulary)."""
    whole = causal.base_model(**inputs)[0] if mode.learned_logits_only else causal(**inputs).logits
    picked: torch.Tensor = whole.flatten(0, 1)[batch.positions]
    return picked
