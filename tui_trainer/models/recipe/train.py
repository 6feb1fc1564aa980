"""Training of the built-in model from nothing."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from tui_trainer.models.recipe.sample_text import conversations, sample_text
from tui_trainer.models.recipe.tokenizer import END, PAD, Encoder, make_tokenizer

STEPS = 3400
"""Steps of a full training."""
BATCH_TOKENS = 2560
"""Tokens in a step, padding included."""
POOL_STEPS = 16
"""Steps whose conversations are drawn together and sorted by length, so that few are padding."""
LIMIT = 400
"""Longest conversation that is trained on, in tokens."""
PEAK_MATRICES = 0.02
"""Highest learning rate of Muon, for the matrices of the layers."""
PEAK_OTHERS = 4e-3
"""Highest learning rate of AdamW, for the embeddings and the norms."""

Batch = tuple[Tensor, Tensor, Tensor]


def make_model(tokenizer: Any) -> LlamaForCausalLM:
    """A fresh Llama of about 2.6 million parameters."""
    ids = tokenizer.convert_tokens_to_ids([END, PAD])
    shared: dict[str, Any] = {
        "bos_token_id": ids[0],
        "eos_token_id": ids[0],
        "pad_token_id": ids[1],
    }
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        **shared,
    )
    model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(do_sample=False, max_new_tokens=64, **shared)
    return model


def pad_rows(rows: list[tuple[list[int], list[bool]]], pad: int) -> Batch:
    """Rows of token ids and marks as tensors (rows, longest): ids, not padding, learned."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), pad)
    seen = torch.zeros((len(rows), longest), dtype=torch.bool)
    learned = torch.zeros((len(rows), longest), dtype=torch.bool)
    for at, (row, marks) in enumerate(rows):
        ids[at, : len(row)] = torch.tensor(row)
        seen[at, : len(row)] = True
        learned[at, : len(row)] = torch.tensor(marks)
    return ids, seen, learned


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Batch]:
    """Endless batches: ids, what is not padding, what is learned; each (rows, tokens)."""
    encode, stream = Encoder(tokenizer), conversations(seed)
    pad = encode.ids[PAD]
    shuffle = torch.Generator().manual_seed(seed)
    while True:
        pool: list[tuple[list[int], list[bool]]] = []
        total = 0
        while total < BATCH_TOKENS * POOL_STEPS:
            row = encode(next(stream))
            if len(row[0]) <= LIMIT:
                pool.append(row)
                total += len(row[0])
        pool.sort(key=lambda row: len(row[0]))
        made: list[Batch] = []
        while pool:
            count = max(1, BATCH_TOKENS // len(pool[-1][0]))
            made.append(pad_rows(pool[-count:], pad))
            del pool[-count:]
        for at in torch.randperm(len(made), generator=shuffle).tolist():
            yield made[at]


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Mean cross-entropy in nats over the learned tokens only."""
    ids, _, learned = batch
    # Padding stands at the right, where causal attention never looks back from a learned token.
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    wanted = learned[:, 1:]
    logits = model.lm_head(hidden[:, :-1][wanted])
    return cross_entropy(logits.float(), ids[:, 1:][wanted])


def _optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    return [
        torch.optim.Muon(matrices, lr=PEAK_MATRICES, weight_decay=0.02, momentum=0.95),
        torch.optim.AdamW(others, lr=PEAK_OTHERS, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def _scale(step: int, steps: int) -> float:
    """Share of the peak learning rate: a short rise, a long flat, then a straight fall to 0."""
    rise = min(100, max(1, steps // 10))
    fall = max(1, int(steps * 0.6))
    return min(1.0, (step + 1) / rise, (steps - step) / fall)


def _note(step: int, steps: int, loss: float, began: float) -> None:
    left = (time.monotonic() - began) / step * (steps - step)
    minutes, seconds = divmod(round(left), 60)
    text = f"step {step}/{steps}  loss {loss:.3f}  left {minutes}:{seconds:02d}"
    print(text, file=sys.stderr, flush=True)


def train(steps: int, seed: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Train for `steps` steps on the mixture of `seed`; prints the loss and the time left."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(sample_text(seed, 6000))
    model = make_model(tokenizer)
    optimizers = _optimizers(model)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    stream, began, smooth = batches(tokenizer, seed + 1), time.monotonic(), math.nan
    for step in range(steps):
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * _scale(step, steps)
        with torch.autocast("cpu", torch.bfloat16):
            loss = answer_loss(model, next(stream))
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        smooth = loss.item() if math.isnan(smooth) else 0.95 * smooth + 0.05 * loss.item()
        if (step + 1) % 50 == 0 or step + 1 == steps:
            _note(step + 1, steps, smooth, began)
    return model, tokenizer


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in half precision, to be computed with in single precision."""
    model.half().save_pretrained(folder)
    # Stored small, loaded exact: half-precision arithmetic is slow and coarse on a CPU.
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    tokenizer.save_pretrained(folder)
