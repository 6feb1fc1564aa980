"""The loss of a batch, by the fastest way that the base allows and is proven right on it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from tui_trainer.engine.data.batching import Batch
from tui_trainer.models.kernels import linear_cross_entropy, packed_attention

# How far logits of the two ways may lie apart, as a share of the largest.
_LARGE = 1e4
_TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}


@dataclass(frozen=True)
class ForwardMode:
    """How this base is run: examples side by side without padding (else padded, because of
    `padded_because`), and the output layer only where something is learned (else everywhere,
    by the base's own forward pass)."""

    side_by_side: bool
    own_head: bool
    padded_because: str = ""
    classifies: bool = False


CLASSIFIES = ForwardMode(side_by_side=False, own_head=False, classifies=True)


def find_way(causal: Any) -> ForwardMode:
    """Tries out what the base allows, and readies it; `causal` has no adapter yet or one that
    changes nothing yet, which is the same."""
    reason = packed_attention.refusal(causal)
    own_head = linear_cross_entropy.is_plain(causal.get_output_embeddings()) and _head_is_all(
        causal
    )
    if reason is None:
        packed_attention.install(causal)
    return ForwardMode(reason is None, own_head, reason or "")


def weighted_sum(
    model: Any,
    batch: Batch,
    way: ForwardMode,
    *,
    count_hits: bool = False,
    token_losses: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum over learned tokens, of a classifier over examples, of weight times cross-entropy
    (nats), and with `count_hits` of weight times "predicted exactly" (0/1); scalars in fp32.
    `token_losses` (learned tokens), if given, is filled with each one's cross-entropy.

    Divided by the weights' sum over the whole optimizer step this is the mean per learned
    token, whatever the split into forward passes (averaging each pass by itself is the mistake
    of transformers#34191).
    """
    inputs = model_inputs(batch)
    causal = model.get_base_model()
    if way.classifies:
        inputs.pop("use_cache")
        return _sums(causal(**inputs).logits.float(), batch)
    if way.own_head:
        hidden = causal.base_model(**inputs)[0].flatten(0, 1)[batch.places]
        output = causal.get_output_embeddings()
        return linear_cross_entropy.cross_entropy(
            hidden,
            output,
            batch.targets,
            batch.weights,
            count_hits=count_hits,
            token_losses=token_losses,
        )
    picked = causal(**inputs).logits.flatten(0, 1)[batch.places].float()
    return _sums(picked, batch, token_losses)


def model_inputs(batch: Batch) -> dict[str, Any]:
    """The arguments of the base's forward pass for a batch."""
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "use_cache": False}
    if batch.segments is not None:
        inputs |= {"position_ids": batch.segments.positions(), "segments": batch.segments}
    else:
        inputs["attention_mask"] = batch.attention_mask
    return inputs


def _sums(
    picked: torch.Tensor, batch: Batch, token_losses: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weighted sums of the losses and of the hits of logits (learned, classes or vocabulary)."""
    losses = functional.cross_entropy(picked, batch.targets, reduction="none")
    if token_losses is not None:
        token_losses.copy_(losses.detach())
    with torch.no_grad():
        hits = (picked.argmax(dim=-1) == batch.targets).float()
    return (losses * batch.weights).sum(), (hits * batch.weights).sum()


def _head_is_all(causal: Any) -> bool:
    """Whether the logits are the output layer's and nothing is done to them afterwards, such as
    a scale or a cap. Tried with outputs so large that a cap would show."""
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
