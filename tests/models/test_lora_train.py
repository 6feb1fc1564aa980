"""A copy of an adapter equals what PEFT saves, at any step, and can be loaded again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peft import PeftModel, get_peft_model_state_dict  # noqa: E402

from tui_trainer.contracts.job import LoraSettings  # noqa: E402
from tui_trainer.models import lora_train  # noqa: E402
from tui_trainer.models.base_model import load_base  # noqa: E402


def same_as_pefts(model: Any) -> None:
    ours = lora_train.copy_adapter(model, "base").tensors
    theirs = get_peft_model_state_dict(model)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize("layer", ["lm_head", "embed_tokens"])
def test_of_a_targeted_output_layer_or_embedding_only_the_update_is_copied(
    layer: str, tiny_base: Path, tmp_path: Path
) -> None:
    """PEFT adds weights of the base, which a checkpoint must not contain."""
    base, ids = str(tiny_base), torch.arange(40, 60).unsqueeze(0)
    settings = LoraSettings(rank=4, target_modules=["q_proj", layer])
    model = lora_train.attach(load_base(base, torch.device("cpu"), torch.float32), settings)
    for parameter in lora_train.trainable(model).values():
        parameter.data = torch.randn_like(parameter)
    ours = lora_train.copy_adapter(model, base).tensors
    theirs = get_peft_model_state_dict(model)
    assert len(ours) == len(theirs) - 1
    assert {name for name in theirs if ".base_layer." not in name} == ours.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    lora_train.load_weights(model, ours)
    lora_train.save_adapter(model, tmp_path, base)
    fresh = load_base(base, torch.device("cpu"), torch.float32)
    again: Any = PeftModel.from_pretrained(fresh, str(tmp_path))
    with torch.no_grad():
        torch.testing.assert_close(again(ids).logits, model.eval()(ids).logits)


@pytest.mark.parametrize("base", ["tiny_base", "qwen2_base", "encoder"])
@pytest.mark.parametrize("settings", [LoraSettings(), LoraSettings(dora=True)])
def test_a_classifier_is_copied_with_its_head(
    base: str, settings: LoraSettings, request: pytest.FixtureRequest
) -> None:
    folder = str(request.getfixturevalue(base))
    loaded = load_base(folder, torch.device("cpu"), torch.float32, labels=["calm", "angry", "odd"])
    model = lora_train.attach(loaded, settings)
    same_as_pefts(model)
    copied = lora_train.copy_adapter(model, "base").tensors
    assert any(name.endswith((".score.weight", ".classifier.weight")) for name in copied)
    lora_train.load_weights(model, {name: value * 2 for name, value in copied.items()})
    same_as_pefts(model)
    doubled = lora_train.copy_adapter(model, "base").tensors
    assert all(torch.equal(doubled[name], copied[name] * 2) for name in copied)


@pytest.mark.parametrize(
    "settings", [LoraSettings(rank=4), LoraSettings(rank=4, dora=True, rslora=True)]
)
def test_copies_follow_the_weights_however_they_change(settings: LoraSettings) -> None:
    model = lora_train.attach(load_base("builtin", torch.device("cpu"), torch.float32), settings)
    same_as_pefts(model)
    with torch.no_grad():
        for parameter in lora_train.trainable(model).values():
            parameter.add_(torch.randn_like(parameter))
    before = lora_train.copy_adapter(model, "base").tensors
    same_as_pefts(model)
    lora_train.load_weights(model, {name: value * 2 for name, value in before.items()})
    same_as_pefts(model)
    for parameter in lora_train.trainable(model).values():
        parameter.data = parameter.data.clone() + 1
    same_as_pefts(model)
    changed = lora_train.copy_adapter(model, "base").tensors
    assert not any(torch.equal(before[name], changed[name]) for name in before)


@pytest.mark.parametrize("dora", [False, True])
def test_a_classifier_initialised_by_pissa_is_saved_with_its_head(
    dora: bool, tiny_base: Path, tmp_path: Path
) -> None:
    base, ids = str(tiny_base), torch.arange(40, 60).unsqueeze(0)

    def fresh() -> Any:
        torch.manual_seed(5)
        return load_base(base, torch.device("cpu"), torch.float32, labels=["calm", "angry", "odd"])

    model = lora_train.attach(fresh(), LoraSettings(rank=4, init="pissa", dora=dora))
    for parameter in lora_train.trainable(model).values():
        parameter.data = parameter.data + 0.1 * torch.randn_like(parameter)
    lora_train.save_adapter(model, tmp_path, base)
    again: Any = PeftModel.from_pretrained(fresh(), str(tmp_path))
    with torch.no_grad():
        wanted, got = model.eval()(ids).logits, again.eval()(ids).logits
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)
