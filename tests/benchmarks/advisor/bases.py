"""Bases to train on: the built-in one, and small random Llama and Qwen2 models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SPECIAL = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]


def base(name: str, folder: Path) -> str:
    """What a job's `model` is for `builtin`, `llama` or `qwen2`; makes it under `folder`."""
    if name == "builtin":
        return "builtin"
    place = folder / f"base-{name}"
    if not (place / "config.json").is_file():
        _make(name, place)
    return str(place.resolve())


def _make(name: str, place: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(place)
    shape: dict[str, Any] = {
        "vocab_size": len(tokenizer),
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(7)
    if name == "llama":
        LlamaForCausalLM(LlamaConfig(**shape)).save_pretrained(str(place))
    else:
        shape["num_key_value_heads"] = 4
        Qwen2ForCausalLM(Qwen2Config(**shape)).save_pretrained(str(place))


def _tokenizer(place: Path) -> Any:
    """A byte-level tokenizer of 320 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    text = ["what is plus where does live in beside the say these words"]
    made.train_from_iterator(text, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|end|>", pad_token="<|pad|>")
    fast.chat_template = _TEMPLATE
    fast.save_pretrained(str(place))
    return fast
