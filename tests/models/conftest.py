"""Adapters on a small random base, in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_load
from tui_trainer.models.base_identity import origin_of

Logits = Callable[[Any], torch.Tensor]


@pytest.fixture(scope="session")
def qwen2_facts(qwen2_base: Path) -> lora_load.Base:
    """What an adapter for the random Qwen2 must fit."""
    model = bases.load_base(str(qwen2_base), torch.device("cpu"), torch.float32)
    return lora_load.describe(model, origin_of(str(qwen2_base)))


@pytest.fixture
def qwen2_model(qwen2_base: Path) -> Any:
    """A fresh random Qwen2, always the same."""
    return bases.load_base(str(qwen2_base), torch.device("cpu"), torch.float32).eval()


@pytest.fixture(scope="session")
def logits() -> Logits:
    """A model's logits for a fixed text, shape (20, vocabulary)."""
    ids = torch.arange(40, 60).unsqueeze(0)

    def of(model: Any) -> torch.Tensor:
        with torch.no_grad():
            values: torch.Tensor = model(ids).logits[0]
        return values

    return of
