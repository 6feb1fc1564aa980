"""The prepared models load, and answer or classify."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import Turn

pytestmark = [pytest.mark.real, pytest.mark.slow]


def test_smollm2_answers_a_question(smollm2: Path) -> None:
    with ChatClient(str(smollm2)) as client:
        assert client.start().chat_template
        turns = [Turn("user", "What is the capital of France?")]
        assert "Paris" in client.answer(turns, max_new_tokens=16).text


def test_minilm_has_the_shape_of_its_original(minilm: Path) -> None:
    from transformers import AutoModel

    model = AutoModel.from_pretrained(minilm)
    assert (model.config.hidden_size, model.config.num_hidden_layers) == (384, 6)
