"""Bases to train on: the built-in one, and small random Llama and Qwen2 models."""

from __future__ import annotations

from pathlib import Path

from tests.bases import byte_tokenizer, save_model

_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_TEXTS = ("what is plus where does live in beside the say these words",)
_SPECIAL = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]


def base(name: str, folder: Path) -> str:
    """What a job's `model` is for `builtin`, `llama` or `qwen2`; makes it under `folder`."""
    if name == "builtin":
        return "builtin"
    target = folder / f"base-{name}"
    if not (target / "config.json").is_file():
        _make(name, target)
    return str(target.resolve())


def _make(name: str, target: Path) -> None:
    tokenizer = byte_tokenizer(
        target, _SPECIAL, _TEMPLATE, eos="<|end|>", pad="<|pad|>", texts=_TEXTS
    )
    shape = {
        "hidden_size": 96,
        "intermediate_size": 192,
        "num_attention_heads": 4,
        "max_position_embeddings": 256,
        "initializer_range": 0.1,
    }
    if name == "qwen2":
        shape["num_key_value_heads"] = 4
    save_model(name, target, tokenizer, seed=7, **shape)
