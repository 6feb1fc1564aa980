"""Six jobs of different shapes, on data of our own making."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests import bases
from tui_trainer.contracts.job import Job
from tui_trainer.store import jobs, paths

WORDS = [
    *("lighthouse", "keeper", "ships", "rocks", "winter", "night"),
    *("storm", "lamp", "harbour", "tide", "fog", "bell"),
]


def make_jobs(directory: Path) -> dict[str, Job]:
    """Name -> job; writes data and random bases into `place`."""
    short = _questions(directory / "short.jsonl", 400, (3, 12))
    long = _questions(directory / "long.jsonl", 200, (20, 220))
    labelled = _labelled(directory / "labelled.jsonl", 600)
    large, encoder = _large_base(directory / "large"), _encoder(directory / "encoder")
    steps = {"warmup_steps": 5, "eval_every": 20, "checkpoint_every": 20}
    return {
        "built-in base, short rows": _job(short, "builtin", {**steps, "max_steps": 300}),
        "built-in base, long rows": _job(long, "builtin", {**steps, "max_steps": 60}),
        "built-in base, accumulation 4": _job(
            long, "builtin", {**steps, "max_steps": 20, "gradient_accumulation_steps": 4}
        ),
        "30 M, 49k vocabulary, fp32": _job(long, large, {**steps, "max_steps": 40}),
        "30 M, 49k vocabulary, bf16": _job(
            long, large, {**steps, "max_steps": 40, "precision": "bf16"}
        ),
        "classification, encoder": _job(
            labelled, encoder, {**steps, "max_steps": 300, "batch_size": 16}, "classification"
        ),
    }


def _job(data: Path, model: str, training: dict[str, Any], task: str = "causal-lm") -> Job:
    values = {
        "name": "estimate",
        "model": model,
        "task": task,
        "data": {"train": str(data), "val_split": 0.1, "max_length": 256},
        "training": training,
    }
    return jobs.check_job(values, data.parent, "benchmark")


def _write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def _expected(chance: random.Random, between: tuple[int, int]) -> str:
    return " ".join(chance.choices(WORDS, k=chance.randint(*between)))


def _questions(file: Path, count: int, between: tuple[int, int]) -> Path:
    chance = random.Random(count)
    rows = [
        {"question": f"{i} {_expected(chance, between)}?", "answer": _expected(chance, between)}
        for i in range(count)
    ]
    return _write(file, rows)


def _labelled(file: Path, count: int) -> Path:
    chance = random.Random(count)
    rows = [
        {"text": f"{i} {_expected(chance, (5, 60))}", "label": WORDS[i % 6]} for i in range(count)
    ]
    return _write(file, rows)


def _tokenizer(folder: Path) -> Any:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(paths.builtin_model())
    tokenizer.save_pretrained(str(folder))
    return tokenizer


def _large_base(folder: Path) -> str:
    """About 30 M parameters, most of them in a vocabulary of 49,152."""
    shape = {
        "vocab_size": 49_152,
        "hidden_size": 384,
        "intermediate_size": 1_024,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "max_position_embeddings": 512,
        "tie_word_embeddings": True,
    }
    return str(bases.save_model("llama", folder, _tokenizer(folder), seed=0, **shape))


def _encoder(folder: Path) -> str:
    shape = {
        "hidden_size": 192,
        "intermediate_size": 768,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
    }
    return str(bases.save_model("bert", folder, _tokenizer(folder), seed=0, **shape))
