"""The chat on a base in 4 bits, where bitsandbytes is installed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tui_trainer.chat.client import ChatClient
from tui_trainer.contracts.teaching.feedback import Turn

QUESTION = [Turn("user", "the cat sat on the mat")]


@pytest.mark.slow
def test_a_base_in_four_bits_answers_with_adapters_and_merges_its_own_weights(
    tiny_base: Path, make_adapter: Callable[..., Path], tmp_path: Path
) -> None:
    pytest.importorskip("bitsandbytes")
    adapter = make_adapter(tiny_base, seed=1, strength=3.0)
    stages: list[str] = []
    merged = []
    for quantization in ("none", "nf4"):
        with ChatClient(str(tiny_base), threads=1, quantization=quantization) as chat:
            facts = chat.start()
            assert facts.quantization == quantization
            merged.append((facts.parameters, chat.merge(adapter, tmp_path / quantization)))
            if quantization == "none":
                continue
            plain = chat.answer(QUESTION, max_new_tokens=12).text
            chat.use({"one": 1.0}, {"one": adapter})
            changed = chat.answer(QUESTION, max_new_tokens=12)
            assert (changed.adapter, changed.text == plain) == ("one", False)
            assert chat.answers([QUESTION], adapter=None, max_new_tokens=12) == [plain]
            chat.use({}, {})
            assert chat.answer(QUESTION, max_new_tokens=12).text == plain
            chat.merge(adapter, tmp_path / "again", on_progress=stages.append)
    assert stages[0] == "loading the base unquantised"
    (parameters, of_whole), (quantised_parameters, of_quantised) = merged
    assert parameters == quantised_parameters
    name = "model.safetensors"
    assert (of_whole / name).read_bytes() == (of_quantised / name).read_bytes()
