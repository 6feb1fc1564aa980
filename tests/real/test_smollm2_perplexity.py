"""SmolLM2: the loss and the perplexity of `evaluate` are those of plain transformers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tui_trainer.cli import main

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(600)]

TEXTS = [
    "The ferry leaves the old harbour at noon and comes back before the evening bell.",
    "Add two cups of flour, a spoon of salt and as much water as the dough takes.",
    "In 1912 the mill burned down; nobody was hurt, and it was never built again.",
]


def test_perplexity_is_the_exponential_of_the_loss_of_transformers(
    smollm2: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.chdir(tmp_path)
    lines = [json.dumps({"text": text}) for text in TEXTS]
    Path("texts.jsonl").write_text("\n".join(lines), encoding="utf-8")
    command = ["evaluate", str(smollm2), "--data", "texts.jsonl", "--json"]
    assert main.main([*command, "--metric", "loss", "--metric", "perplexity"]) == 0
    document = json.loads(capsys.readouterr().out)
    scores = document["evaluation"]["metrics"]
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    model = AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()
    total, tokens = 0.0, 0
    for text in TEXTS:
        ids = torch.tensor([tokenizer(text + tokenizer.eos_token).input_ids])
        with torch.no_grad():
            loss = float(model(input_ids=ids, labels=ids).loss)
        total += loss * (ids.shape[1] - 1)
        tokens += ids.shape[1] - 1
    assert scores["loss"] == pytest.approx(total / tokens, rel=1e-4)
    assert scores["perplexity"] == pytest.approx(math.exp(total / tokens), rel=1e-3)
