"""Adapters of an output layer whose weights are also the embeddings."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import bases as makers
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import LoraSettings
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_load, lora_merge
from tui_trainer.models import lora_train as adapters
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.serving.adapter_pool import AdapterPool
from tui_trainer.models.tied_weights import untie

Logits = Callable[[Any], torch.Tensor]
CPU = torch.device("cpu")
ATTENTION = {"llama": "q_proj", "qwen2": "q_proj", "gpt2": "c_attn"}
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "rslora": {"rslora": True, "alpha": 4},
    "dora": {"dora": True},
    "pattern": {"rank_pattern": {"lm_head": 7}, "alpha_pattern": {"lm_head": 3.0}},
    "pissa": {"init": "pissa"},
}


@pytest.fixture(params=list(ATTENTION))
def tied_base(request: pytest.FixtureRequest, tiny_base: Path, tmp_path: Path) -> Path:
    """A random base whose output layer is its embeddings; GPT-2's layers are transposed."""
    return make_tied(request.param, tiny_base, tmp_path)


def make_tied(kind: str, tiny_base: Path, parent: Path) -> Path:
    folder = parent / kind
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    tokenizer.save_pretrained(str(folder))
    shape = {"tie_word_embeddings": True, "initializer_range": 0.3, "num_key_value_heads": 2}
    return makers.save_model(kind, folder, tokenizer, seed=5, **shape)


def load(folder: Path) -> Any:
    return bases.load_base(str(folder), CPU, torch.float32).eval()


def facts_of(folder: Path) -> lora_load.Base:
    return lora_load.describe(load(folder), origin_of(str(folder)))


def trained(base: Path, out: Path, *, seed: int = 0, **settings: Any) -> tuple[Any, Path]:
    """A model with an adapter whose every number was changed, as training does, and its folder."""
    torch.manual_seed(seed)
    targets = [ATTENTION[base.name], "lm_head"]
    model = adapters.attach(load(base), LoraSettings(rank=4, target_modules=targets, **settings))
    with torch.no_grad():
        for parameter in adapters.trainable(model).values():
            parameter.add_(0.05 * torch.randn_like(parameter))
    out.mkdir()
    adapters.save_adapter(model, out, str(base))
    return model.eval(), out


@pytest.mark.parametrize("shape", list(SHAPES))
def test_training_peft_chat_and_the_merged_model_give_the_same_logits(
    shape: str, tied_base: Path, tmp_path: Path, logits: Logits
) -> None:
    model, folder = trained(tied_base, tmp_path / "adapter", **SHAPES[shape])
    wanted = logits(PeftModel.from_pretrained(load(tied_base), str(folder)).eval())
    near = 1e-4 * max(1.0, wanted.abs().max().item())
    assert (logits(load(tied_base)) - wanted).abs().max() > 100 * near

    assert (logits(model) - wanted).abs().max() < near, "in training"
    facts, chat = facts_of(tied_base), load(tied_base)
    pool = AdapterPool(chat, facts)
    pool.activate(pool.acquire([(folder, 1.0)]))
    assert (logits(chat) - wanted).abs().max() < near, "in chat"

    lora_merge.merge(facts, folder, tmp_path / "merged")
    merged: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    assert (logits(merged) - wanted).abs().max() < near, "merged"
    assert json.loads((tmp_path / "merged/config.json").read_text())["tie_word_embeddings"] is False
    weights, before = (load_file(p / "model.safetensors") for p in (tmp_path / "merged", tied_base))
    embeddings = next(
        name for name in before if name.endswith(("embed_tokens.weight", "wte.weight"))
    )
    assert torch.equal(weights[embeddings], before[embeddings]), "the embeddings are the base's"
    assert not torch.equal(weights["lm_head.weight"], weights[embeddings])


def test_an_adapter_of_other_layers_leaves_the_weights_tied(
    tied_base: Path, tmp_path: Path, make_adapter: Callable[..., Path]
) -> None:
    folder = make_adapter(tied_base, target_modules=[ATTENTION[tied_base.name]])
    lora_merge.merge(facts_of(tied_base), folder, tmp_path / "merged")
    assert "lm_head.weight" not in load_file(tmp_path / "merged/model.safetensors")
    assert json.loads((tmp_path / "merged/config.json").read_text())["tie_word_embeddings"] is True


def test_several_adapters_of_a_tied_head_answer_as_the_sum_of_their_changes(
    tiny_base: Path, tmp_path: Path, logits: Logits
) -> None:
    """PEFT's own weighted combination, added to the untied model by hand, is the measure."""
    base = make_tied("llama", tiny_base, tmp_path)
    folders = [trained(base, tmp_path / f"adapter{seed}", seed=seed)[1] for seed in (1, 2)]
    facts, chat, by_hand = facts_of(base), load(base), load(base)
    untie(by_hand, ["lm_head"])
    for folder, weight in zip(folders, (0.7, -0.4), strict=True):
        for layer, update in lora_load.read(folder, facts).updates.items():
            change = weight * update.scale * update.up @ update.down
            by_hand.get_submodule(layer).weight.data += change
    pool = AdapterPool(chat, facts)
    pool.activate(pool.acquire(list(zip(folders, (0.7, -0.4), strict=True))))
    assert (logits(chat) - logits(by_hand)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (
            {"target_modules": ["q_proj", "embed_tokens"]},
            "which is not a low-rank update of a layer",
        ),
        ({"modules_to_save": ["lm_head"]}, "more than low-rank updates .modules_to_save."),
        ({"bias": "lora_only"}, "more than low-rank updates .bias."),
    ],
)
def test_what_could_not_be_merged_rightly_is_refused(
    settings: dict[str, Any],
    expected: str,
    tiny_base: Path,
    tmp_path: Path,
    make_adapter: Callable[..., Path],
) -> None:
    base = make_tied("llama", tiny_base, tmp_path)
    with pytest.raises(UserError, match=expected):
        lora_merge.merge(facts_of(base), make_adapter(base, **settings), tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_weights_that_no_setting_parts_are_refused(tiny_base: Path, tmp_path: Path) -> None:
    model = load(make_tied("llama", tiny_base, tmp_path))
    one, two = (model.model.layers[index].self_attn for index in (0, 1))
    two.q_proj.weight = one.q_proj.weight
    with pytest.raises(UserError, match=r"q_proj.weight is .* no setting to untie them"):
        untie(model, ["model.layers.0.self_attn.q_proj"])
    untie(model, ["model.layers.0.self_attn.v_proj"])  # which shares nothing
    assert model.config.tie_word_embeddings is True
