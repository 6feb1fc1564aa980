"""Adapters that are refused, each with its reason."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.models import lora_load
from tui_trainer.models.base_identity import BaseIdentity
from tui_trainer.store import model_files
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.runs import run_folder

Change = Callable[[dict[str, Any]], object]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
Q0 = "base_model.model.model.layers.0.self_attn.q_proj"


@pytest.fixture(scope="module")
def good(qwen2_base: Path, make_adapter: Callable[..., Path]) -> Path:
    return make_adapter(qwen2_base, seed=5)


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    """A copy of a valid adapter, to be damaged."""
    copy = tmp_path / "copy"
    shutil.copytree(good, copy)
    return copy


def change_tensors(folder: Path, change: Change) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)


def change_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | values))


def describe(folder: Path, **values: Any) -> None:
    """Gives the adapter our own facts."""
    info = AdapterInfo(name="x", created_at=time.time(), base_model="m", base_hash=None)
    adapter_files.write_info(folder, msgspec.structs.replace(info, **values))


def test_facts_of_a_whole_adapter(
    good: Path, qwen2_base: Path, qwen2_facts: lora_load.Base
) -> None:
    facts = lora_load.read(good, qwen2_facts).facts
    assert (facts.rank, facts.alpha, facts.dora) == (4, 8.0, False)
    assert facts.layers == [
        "model.layers.0.self_attn.q_proj",
        "model.layers.0.mlp.down_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.mlp.down_proj",
    ]
    assert facts.parameters == 2 * (4 * (32 + 32) + 4 * (64 + 32))
    assert facts.bytes == (good / WEIGHTS).stat().st_size
    assert facts.base_hash == model_files.hash_model(qwen2_base)  # the folder that it names is here


def bad_value(tensors: dict[str, Any]) -> None:
    tensors[f"{Q0}.lora_B.weight"][3, 1] = float("nan")


def wrong_shape(tensors: dict[str, Any]) -> None:
    tensors[f"{Q0}.lora_A.weight"] = torch.zeros(4, 31)


def wrong_rank(tensors: dict[str, Any]) -> None:
    tensors[f"{Q0}.lora_A.weight"] = torch.zeros(5, 32)


def unknown_layer(tensors: dict[str, Any]) -> None:
    moved = Q0.replace("layers.0", "layers.9")
    tensors[f"{moved}.lora_A.weight"] = tensors[f"{Q0}.lora_A.weight"].clone()


def whole_matrix(tensors: dict[str, Any]) -> None:
    tensors["base_model.model.lm_head.weight"] = torch.zeros(320, 32)


def integers(tensors: dict[str, Any]) -> None:
    tensors[f"{Q0}.lora_A.weight"] = torch.zeros(4, 32, dtype=torch.int32)


def lacking_half(tensors: dict[str, Any]) -> None:
    del tensors[f"{Q0}.lora_B.weight"]


def lacking_layer(tensors: dict[str, Any]) -> None:
    for part in "AB":
        del tensors[f"{Q0}.lora_{part}.weight"]


def unnamed_layer(tensors: dict[str, Any]) -> None:
    for part in "AB":
        key = f"{Q0}.lora_{part}.weight"
        tensors[key.replace("q_proj", "o_proj")] = tensors[key].clone()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (bad_value, "q_proj.lora_B.weight contains values that are not finite"),
        (wrong_shape, r"lora_A.weight has the shape \[4, 31\]; \[4, 32\] is needed"),
        (wrong_rank, r"lora_A.weight has the shape \[5, 32\]; \[4, 32\] is needed"),
        (unknown_layer, r"changes model.layers.9.self_attn.q_proj, which this base does not have"),
        (whole_matrix, r"lm_head.weight, which is not a low-rank update"),
        (integers, "lora_A.weight contains values that are not finite numbers"),
        (lacking_half, "does not contain model.layers.0.self_attn.q_proj.lora_B.weight"),
        (lacking_layer, "names model.layers.0.self_attn.q_proj, for which it has no weights"),
        (unnamed_layer, "has weights for .*o_proj, which its configuration does not name"),
    ],
)
def test_damaged_weights_are_refused(
    change: Change, expected: str, folder: Path, qwen2_facts: lora_load.Base
) -> None:
    change_tensors(folder, change)
    with pytest.raises(UserError, match=expected) as reported:
        lora_load.read(folder, qwen2_facts)
    assert str(folder) in str(reported.value)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"peft_type": "IA3"}, "peft_type 'IA3', but only LORA"),
        ({"bias": "lora_only"}, "more than low-rank updates .bias."),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save"),
        ({"layer_replication": [[0, 2]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights = 'pissa', which changes the base"),
        ({"init_lora_weights": "pissa_niter_4"}, "changes the base"),
        ({"r": "many"}, "not valid"),
        ({"r": 0}, "not valid"),
        ({"target_modules": None}, "needs r and target_modules"),
        ({"use_dora": True}, "does not contain .*lora_magnitude_vector"),
    ],
)
def test_configurations_that_cannot_be_used_are_refused(
    values: dict[str, Any], expected: str, folder: Path, qwen2_facts: lora_load.Base
) -> None:
    change_config(folder, **values)
    with pytest.raises(UserError, match=expected):
        lora_load.read(folder, qwen2_facts)


def test_broken_and_absent_files_are_refused(folder: Path, qwen2_facts: lora_load.Base) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    for data in (weights[:-10], weights[:100], b"", b"not safetensors at all" * 10):
        (folder / WEIGHTS).write_bytes(data)
        with pytest.raises(UserError, match="cannot be used"):
            lora_load.read(folder, qwen2_facts)
    (folder / WEIGHTS).write_bytes(weights)
    (folder / CONFIG).write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        lora_load.read(folder, qwen2_facts)
    with pytest.raises(UserError, match="missing"):
        lora_load.read(folder / "nowhere", qwen2_facts)


def test_a_pickle_is_never_opened(folder: Path, qwen2_facts: lora_load.Base) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "adapter_model.bin")
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match=r"adapter_model.safetensors is missing"):
        lora_load.read(folder, qwen2_facts)


def test_a_bit_that_flipped_since_it_was_saved_is_found(
    folder: Path, qwen2_facts: lora_load.Base
) -> None:
    _, digests = run_folder.hash_files([folder / WEIGHTS])
    describe(folder, files={WEIGHTS: digests[str(folder / WEIGHTS)]})
    assert lora_load.read(folder, qwen2_facts)
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS).write_bytes(bytes(data))
    with pytest.raises(UserError, match="SHA-256 differs"):
        lora_load.read(folder, qwen2_facts)


def test_another_base_is_detected_by_its_hash(
    folder: Path, qwen2_facts: lora_load.Base, tiny_base: Path
) -> None:
    describe(folder, base_model="builtin", base_hash="0" * 64)
    with pytest.raises(UserError, match=r"made for another base \(builtin\)"):
        lora_load.read(folder, qwen2_facts)
    describe(folder, base_model="elsewhere", base_hash=qwen2_facts.origin.hash)
    assert lora_load.read(folder, qwen2_facts).facts.base_model == "elsewhere"
    (folder / "adapter.json").unlink()
    change_config(folder, base_model_name_or_path=str(tiny_base))
    with pytest.raises(UserError, match="another base"):
        lora_load.read(folder, qwen2_facts)


def test_names_decide_where_hashes_are_not_known(folder: Path, qwen2_facts: lora_load.Base) -> None:
    hub = lora_load.Base(BaseIdentity("Qwen/Qwen2-0.5B", None, None), qwen2_facts.layers)
    for same in ("Qwen/Qwen2-0.5B", "copies/qwen2-0.5b", "/some/folder", ""):
        change_config(folder, base_model_name_or_path=same)
        assert lora_load.read(folder, hub).facts.base_hash is None
    change_config(folder, base_model_name_or_path="Qwen/Qwen2-1.5B")
    with pytest.raises(UserError, match=r"another base \(Qwen/Qwen2-1.5B\)"):
        lora_load.read(folder, hub)
