"""What is trained on what: bases and rows, made anew from a seed in a folder of the benchmark."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ["<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"]
VOCABULARY = 49_152
# Shapes of random Llamas.
SHAPES: dict[str, dict[str, Any]] = {
    "30M": {
        "hidden_size": 256,
        "intermediate_size": 688,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 8,
        "tie_word_embeddings": False,
    },
    "135M": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "tie_word_embeddings": True,
    },
}


@dataclass(frozen=True)
class Case:
    """One line of the table: base, rows, optimizer steps, examples a step, precision."""

    base: str
    rows: str
    steps: int
    batch_size: int = 8
    precision: str = "fp32"

    @property
    def title(self) -> str:
        """The case in a few words."""
        return f"{self.base}, {self.rows}, {self.precision}"


def write_rows(kind: str, count: int, folder: Path, shared: Path | None) -> Path:
    """A JSONL file of `count` questions and answers: real gsm8k ones, or of random words with
    log-normal lengths (a few answers are ten times the usual)."""
    file = folder / f"{kind}-{count}.jsonl"
    if kind == "gsm8k":
        assert shared is not None
        lines = (shared / "gsm8k" / "train.jsonl").read_text(encoding="utf-8").splitlines()
        file.write_text("\n".join(lines[:count]) + "\n", encoding="utf-8")
        return file
    chance = random.Random(20261121)
    words = ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(4000)]

    def text(middle: float) -> str:
        length = min(400, 1 + round(chance.lognormvariate(middle, 0.9)))
        return " ".join(chance.choices(words, k=length))

    rows = [{"question": text(2.6), "answer": text(2.9)} for _ in range(count)]
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return file


def make_base(shape: str, folder: Path, texts: Path) -> str:
    """A random Llama of a shape with a byte-level tokenizer learned from `texts`; "builtin" is
    what it is. Gives what a job calls it."""
    if shape == "builtin":
        return shape
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    target = folder / f"{shape}-{texts.stem}"
    if (target / "model.safetensors").exists():
        return str(target)
    tokenizer = _learn_tokenizer(texts, target)
    torch.manual_seed(0)
    config: Any = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **SHAPES[shape],
    )
    LlamaForCausalLM(config).save_pretrained(str(target))
    return str(target)


def _learn_tokenizer(texts: Path, target: Path) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rows = [msgspec.json.decode(line) for line in texts.read_bytes().splitlines()]
    tokenizer.train_from_iterator((v for row in rows for v in row.values()), trainer)
    fast: Any = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|pad|>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(str(target))
    return fast
