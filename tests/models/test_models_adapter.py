"""A copy of an adapter is what PEFT itself would save, whenever it is taken, and goes back in."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from peft import get_peft_model_state_dict  # noqa: E402

from tui_trainer.contracts.job import LoraSettings  # noqa: E402
from tui_trainer.models import adapter  # noqa: E402
from tui_trainer.models.base import load_base  # noqa: E402


def same_as_pefts(model: Any) -> None:
    ours = adapter.copy_adapter(model, "base").tensors
    theirs = get_peft_model_state_dict(model)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(
    "settings", [LoraSettings(rank=4), LoraSettings(rank=4, dora=True, rslora=True)]
)
def test_copies_follow_the_weights_however_they_change(settings: LoraSettings) -> None:
    model = adapter.attach(load_base("builtin", torch.device("cpu"), torch.float32), settings)
    same_as_pefts(model)
    with torch.no_grad():
        for parameter in adapter.trainable(model).values():
            parameter.add_(torch.randn_like(parameter))
    before = adapter.copy_adapter(model, "base").tensors
    same_as_pefts(model)
    adapter.load_weights(model, {name: value * 2 for name, value in before.items()})
    same_as_pefts(model)
    for parameter in adapter.trainable(model).values():
        parameter.data = parameter.data.clone() + 1
    same_as_pefts(model)
    changed = adapter.copy_adapter(model, "base").tensors
    assert not any(torch.equal(before[name], changed[name]) for name in before)
