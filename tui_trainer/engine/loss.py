"""The loss of a batch, computed in the fastest mode that gives the right result on this base."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from tui_trainer.engine.data.batching import Batch
from tui_trainer.models.kernels import linear_cross_entropy, packed_attention

_LARGE = 1e4  # largest hidden value in the test of `_logits_are_plain`
# Largest difference between the base's logits and ours, relative to the largest logit.
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class ForwardMode:
    """How batches are passed through this base."""

    packed: bool  # several examples in one row without padding; else one padded row per example
    learned_logits_only: bool  # output layer only at learned positions; else the base's own forward
    padded_because: str = ""  # why examples cannot be packed, for the user
    classifies: bool = False  # one class per example instead of next tokens


CLASSIFICATION = ForwardMode(packed=False, learned_logits_only=False, classifies=True)


def choose_forward_mode(causal: Any) -> ForwardMode:
    """Test which mode the base supports, and install packed attention where it does.

    `causal` is a causal language model without an adapter, or with one that has no effect yet.
    """
    reason = packed_attention.refusal(causal)
    learned_logits_only = linear_cross_entropy.is_plain(
        causal.get_output_embeddings()
    ) and _logits_are_plain(causal)
    if reason is None:
        packed_attention.install(causal)
    return ForwardMode(reason is None, learned_logits_only, reason or "")


def weighted_sum(
    model: Any,
    batch: Batch,
    mode: ForwardMode,
    *,
    count_hits: bool = False,
    token_losses: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sums of cross-entropy (nats) and of correct predictions (0 or 1) over
    learned tokens, or over the examples of a classification; fp32 scalars. Without `count_hits` a
    token as probable as the most probable one may count as correct, which costs less.
    `token_losses` (learned,), if given, is filled with the cross-entropy of each token.

    Divided by the sum of weights over the whole optimizer step this is the mean per learned token,
    for any split into forward passes. (Averaging each pass separately gives another result; see
    transformers#34191.)
    """
    inputs = model_inputs(batch)
    causal = model.get_base_model()
    if mode.classifies:
        inputs.pop("use_cache")
        return _sums(causal(**inputs).logits.float(), batch)
    if mode.learned_logits_only:
        hidden = causal.base_model(**inputs)[0].flatten(0, 1)[batch.positions]
        output = causal.get_output_embeddings()
        return linear_cross_entropy.cross_entropy(
            hidden,
            output,
            batch.targets,
            batch.weights,
            count_hits=count_hits,
            token_losses=token_losses,
        )
    picked = causal(**inputs).logits.flatten(0, 1)[batch.positions].float()
    return _sums(picked, batch, token_losses)


def model_inputs(batch: Batch) -> dict[str, Any]:
    """Return the arguments of the base's forward pass for a batch."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.segments is not None:
        inputs |= {"position_ids": batch.segments.positions(), "segments": batch.segments}
    else:
        inputs["attention_mask"] = batch.attention_mask
    return inputs


def _sums(
    picked: torch.Tensor, batch: Batch, token_losses: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sums of losses and hits for logits (learned, classes or vocabulary)."""
    losses = functional.cross_entropy(picked, batch.targets, reduction="none")
    if token_losses is not None:
        token_losses.copy_(losses.detach())
    with torch.no_grad():
        hits = (picked.argmax(dim=-1) == batch.targets).float()
    return (losses * batch.weights).sum(), (hits * batch.weights).sum()


def _logits_are_plain(causal: Any) -> bool:
    """Return whether the base's logits are the unchanged output of its output layer, without a
    scale or a cap. Tested with hidden values so large that a cap would show."""
    seen: list[torch.Tensor] = []

    def enlarge(_module: Any, _inputs: Any, output: Any) -> Any:
        hidden = output[0]
        output["last_hidden_state"] = hidden * (_LARGE / hidden.abs().max().clamp_min(1e-9))
        seen.append(output["last_hidden_state"])
        return output

    if causal.base_model is causal:
        return False
    training = causal.training
    causal.eval()
    hook = causal.base_model.register_forward_hook(enlarge)
    try:
        with torch.no_grad():
            ids = torch.arange(6, device=causal.device).unsqueeze(0)
            logits = causal(input_ids=ids, use_cache=False).logits.float()
            ours = causal.get_output_embeddings()(seen[0]).float()
    except (TypeError, AttributeError, LookupError):
        return False
    finally:
        hook.remove()
        causal.train(training)
    if ours.shape != logits.shape:
        return False
    difference = (ours - logits).abs().max() / logits.abs().max().clamp_min(1e-9)
    return bool(difference <= _TOLERANCE.get(causal.dtype, 0.0))
