"""Small random bases for tests and benchmarks: one maker for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

TEXTS = ("the cat sat on the mat and the dog ran",) * 4


def byte_tokenizer(
    folder: Path,
    special: list[str],
    template: str,
    *,
    eos: str,
    pad: str | None,
    texts: Sequence[str] = TEXTS,
) -> Any:
    """A byte-level tokenizer of 320 tokens with these special ones first, saved in `folder`."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=pad)
    fast.chat_template = template
    fast.save_pretrained(str(folder))
    return fast


def save_model(kind: str, folder: Path, tokenizer: Any, *, seed: int, **shape: Any) -> Path:
    """A random model of `kind` (llama, qwen2, gpt2; bert, without a pooler as most encoders are),
    always the same for a seed, saved in `folder`. What `shape` leaves out is tiny."""
    import torch
    import transformers

    config, model = {
        "llama": ("LlamaConfig", "LlamaForCausalLM"),
        "qwen2": ("Qwen2Config", "Qwen2ForCausalLM"),
        "bert": ("BertConfig", "BertForMaskedLM"),
        "gpt2": ("GPT2Config", "GPT2LMHeadModel"),
    }[kind]
    values: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": tokenizer.pad_token_id,
    }
    if kind != "bert":
        values["eos_token_id"] = tokenizer.eos_token_id
    torch.manual_seed(seed)
    made: Any = getattr(transformers, model)(getattr(transformers, config)(**values | shape))
    made.save_pretrained(str(folder))
    return folder
