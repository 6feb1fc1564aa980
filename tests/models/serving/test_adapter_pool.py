"""Adapters put on a base, weighted, switched and taken off again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from tui_trainer.contracts.errors import UserError
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_load
from tui_trainer.models.serving.adapter_pool import BASE_ALONE, AdapterPool

Make = Callable[..., Path]
Logits = Callable[[Any], torch.Tensor]
OTHERS: dict[str, Any] = {
    "r": 7,
    "lora_alpha": 3,
    "target_modules": ["q_proj", "v_proj"],
    "use_rslora": True,
    "rank_pattern": {"layers.1.self_attn.v_proj": 2},
    "alpha_pattern": {"layers.0.self_attn.q_proj": 9},
}


@pytest.fixture
def pool(qwen2_model: Any, qwen2_facts: lora_load.Base) -> AdapterPool:
    return AdapterPool(qwen2_model, qwen2_facts)


def lora_numbers(model: Any) -> int:
    return sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)


def summed(base: Path, facts: lora_load.Base, parts: list[tuple[Path, float]]) -> Any:
    """The base with the weighted sum of whole changes added to its weights, in fp64."""
    model = bases.load_base(str(base), torch.device("cpu"), torch.float32).eval()
    with torch.no_grad():
        for folder, weight in parts:
            for layer, update in lora_load.read(folder, facts).updates.items():
                change = update.scale * update.up.double() @ update.down.double()
                matrix = model.get_submodule(layer).weight
                matrix.copy_((matrix.double() + weight * change).float())
    return model


def test_one_adapter_answers_as_in_plain_peft(
    pool: AdapterPool,
    qwen2_model: Any,
    qwen2_base: Path,
    make_adapter: Make,
    logits: Logits,
) -> None:
    folder = make_adapter(qwen2_base, seed=1, **OTHERS)
    pool.activate(pool.acquire([(folder, 1.0)]))
    fresh = bases.load_base(str(qwen2_base), torch.device("cpu"), torch.float32).eval()
    alone = logits(fresh)
    plain = PeftModel.from_pretrained(fresh, str(folder))
    assert torch.equal(logits(qwen2_model), logits(plain))
    assert (logits(qwen2_model) - alone).abs().max() > 0.1


@pytest.mark.parametrize("weights", [(0.7, 0.3), (1.0, -1.0), (0.0, 0.5), (0.0, 0.0), (-2.0, 1.5)])
def test_an_ensemble_is_the_weighted_sum_of_changes(
    weights: tuple[float, float],
    pool: AdapterPool,
    qwen2_model: Any,
    qwen2_base: Path,
    qwen2_facts: lora_load.Base,
    make_adapter: Make,
    logits: Logits,
) -> None:
    """Unequal ranks, targets and scales; a linear mix of factors would be far off."""
    folders = (
        make_adapter(qwen2_base, seed=1, strength=0.3),
        make_adapter(qwen2_base, seed=2, strength=0.3, **OTHERS),
    )
    parts = list(zip(folders, weights, strict=True))
    pool.activate(pool.acquire(parts))
    wanted = logits(summed(qwen2_base, qwen2_facts, parts))
    found = logits(qwen2_model)
    assert (found - wanted).abs().max() < 1e-4 * max(1.0, wanted.abs().max().item())


def test_the_same_folder_twice_counts_twice(
    pool: AdapterPool, qwen2_model: Any, qwen2_base: Path, make_adapter: Make, logits: Logits
) -> None:
    folder = make_adapter(qwen2_base, seed=1)
    pool.activate(pool.acquire([(folder, 1.5)]))
    whole = logits(qwen2_model)
    pool.activate(pool.acquire([(folder, 1.0), (folder, 0.5)]))
    assert pool.loaded == 1
    assert torch.equal(logits(qwen2_model), whole)


def test_switching_and_taking_off_leaves_the_base_as_it_was(
    pool: AdapterPool, qwen2_model: Any, qwen2_base: Path, make_adapter: Make, logits: Logits
) -> None:
    alone = logits(qwen2_model)
    first = pool.acquire([(make_adapter(qwen2_base, seed=1), 1.0)])
    pool.activate(first)
    with_first = logits(qwen2_model)
    numbers = lora_numbers(qwen2_model)
    second = pool.acquire([(make_adapter(qwen2_base, seed=2), 0.5)])
    pool.activate(second)
    with_second = logits(qwen2_model)
    assert not torch.equal(with_first, with_second)

    pool.release(first)
    pool.activate(second)
    assert torch.equal(logits(qwen2_model), with_second)
    assert lora_numbers(qwen2_model) == numbers  # the first one's memory is free

    pool.activate(BASE_ALONE)
    assert torch.equal(logits(qwen2_model), alone)
    pool.release(second)
    pool.activate(BASE_ALONE)
    assert torch.equal(logits(qwen2_model), alone)
    assert (pool.loaded, lora_numbers(qwen2_model)) == (0, 0)

    pool.activate(pool.acquire([(make_adapter(qwen2_base, seed=1), 1.0)]))
    assert torch.equal(logits(qwen2_model), with_first)


def test_an_adapter_written_anew_is_read_anew(
    pool: AdapterPool, qwen2_model: Any, qwen2_base: Path, make_adapter: Make, logits: Logits
) -> None:
    folder, other = make_adapter(qwen2_base, seed=1), make_adapter(qwen2_base, seed=2)
    mix = pool.acquire([(folder, 1.0)])
    for file in other.iterdir():
        file.replace(folder / file.name)
    again = pool.acquire([(folder, 1.0)])
    pool.activate(mix)
    before = logits(qwen2_model)
    pool.activate(again)
    assert not torch.equal(logits(qwen2_model), before)
    assert pool.loaded == 2


def test_what_is_refused_changes_nothing(
    pool: AdapterPool,
    qwen2_model: Any,
    qwen2_base: Path,
    make_adapter: Make,
    logits: Logits,
    tmp_path: Path,
) -> None:
    folder = make_adapter(qwen2_base, seed=1)
    pool.activate(pool.acquire([(folder, 1.0)]))
    before = logits(qwen2_model)
    other = make_adapter(qwen2_base, seed=2)
    for wanted in ([(other, 1.0), (tmp_path, 1.0)], [(other, math.nan)], [(other, math.inf)]):
        with pytest.raises(UserError):
            pool.acquire(wanted)
    assert pool.loaded == 1
    pool.activate(pool.acquire([(folder, 1.0)]))
    assert torch.equal(logits(qwen2_model), before)


def test_dora_answers_alone_but_not_in_a_sum(
    pool: AdapterPool, qwen2_model: Any, qwen2_base: Path, make_adapter: Make, logits: Logits
) -> None:
    folder = make_adapter(qwen2_base, seed=1, use_dora=True)
    pool.activate(pool.acquire([(folder, 1.0)]))
    fresh = bases.load_base(str(qwen2_base), torch.device("cpu"), torch.float32).eval()
    plain = PeftModel.from_pretrained(fresh, str(folder))
    assert torch.allclose(logits(qwen2_model), logits(plain), atol=1e-6)
    for wanted in ([(folder, 0.5)], [(folder, 1.0), (make_adapter(qwen2_base, seed=2), 1.0)]):
        with pytest.raises(UserError, match="DoRA adapter"):
            pool.acquire(wanted)
    assert pool.loaded == 1
