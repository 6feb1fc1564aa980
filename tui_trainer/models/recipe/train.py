"""Training of the built-in model from scratch."""

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
from tui_trainer.text import formats

STEPS = 3400  # of a full training
BATCH_TOKENS = 2560  # per step, with padding
# Steps whose conversations are drawn together and sorted by length, for less padding.
SORTED_STEPS = 16
MOST_TOKENS = 400  # of a conversation; longer ones are skipped
PEAK_MATRICES = 0.02  # peak learning rate of Muon, for the matrices of the layers
PEAK_OTHERS = 4e-3  # peak learning rate of AdamW, for embeddings and norms

Batch = tuple[Tensor, Tensor, Tensor]


def make_model(tokenizer: Any) -> LlamaForCausalLM:
    """Return an untrained Llama of about 2.6 million parameters."""
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
    """Return rows of token ids and learned masks as tensors (rows, longest): ids, whether it is a
    token and not padding, whether it is learned."""
    longest = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), longest), pad)
    is_token = torch.zeros((len(rows), longest), dtype=torch.bool)
    learned = torch.zeros((len(rows), longest), dtype=torch.bool)
    for index, (row, mask) in enumerate(rows):
        ids[index, : len(row)] = torch.tensor(row)
        is_token[index, : len(row)] = True
        learned[index, : len(row)] = torch.tensor(mask)
    return ids, is_token, learned


def batches(tokenizer: PreTrainedTokenizerFast, seed: int) -> Iterator[Batch]:
    """Yield batches without end, as `pad_rows` returns them."""
    encode, stream = Encoder(tokenizer), conversations(seed)
    pad = encode.ids[PAD]
    shuffle = torch.Generator().manual_seed(seed)
    while True:
        pool: list[tuple[list[int], list[bool]]] = []
        total = 0
        while total < BATCH_TOKENS * SORTED_STEPS:
            row = encode(next(stream))
            if len(row[0]) <= MOST_TOKENS:
                pool.append(row)
                total += len(row[0])
        pool.sort(key=lambda row: len(row[0]))
        ready: list[Batch] = []
        while pool:
            count = max(1, BATCH_TOKENS // len(pool[-1][0]))
            ready.append(pad_rows(pool[-count:], pad))
            del pool[-count:]
        for index in torch.randperm(len(ready), generator=shuffle).tolist():
            yield ready[index]


def answer_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    """Return the mean cross-entropy (nats) over the learned tokens."""
    ids, _, learned = batch
    # No mask is needed: padding is at the right, which causal attention hides from all tokens.
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
    """Return the share of the peak learning rate: linear warmup, constant, linear decay to 0."""
    rise = min(100, max(1, steps // 10))
    fall = max(1, int(steps * 0.6))
    return min(1.0, (step + 1) / rise, (steps - step) / fall)


def _report(step: int, steps: int, loss: float, started: float) -> None:
    remaining = formats.duration((time.monotonic() - started) / step * (steps - step))
    text = f"step {step}/{steps}  loss {formats.number(loss)}  remaining {remaining}"
    print(text, file=sys.stderr, flush=True)


def train(steps: int, seed: int) -> tuple[LlamaForCausalLM, PreTrainedTokenizerFast]:
    """Train for `steps` steps on the conversations of `seed`; print loss and remaining time."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(sample_text(seed, 6000))
    model = make_model(tokenizer)
    optimizers = _optimizers(model)
    peaks = [group["lr"] for optimizer in optimizers for group in optimizer.param_groups]
    stream, started, smooth = batches(tokenizer, seed + 1), time.monotonic(), math.nan
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
            _report(step + 1, steps, smooth, started)
    return model, tokenizer


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in half precision, with a configuration that loads it in single precision."""
    model.half().save_pretrained(folder)
    # Arithmetic in half precision is slow and inexact on a CPU.
    model.config.dtype = torch.float32
    model.config.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    tokenizer.save_pretrained(folder)
