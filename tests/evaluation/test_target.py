"""What a name means: an adapter of the store, a run, a folder or a model."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.weights import one_tensor
from tui_trainer.contracts.errors import UserError
from tui_trainer.evaluation import target
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore


def adapter(folder: Path, kind: str = "CAUSAL_LM") -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "base_model_name_or_path": "builtin", "r": 4, "lora_alpha": 8,'
        f' "target_modules": ["q_proj"], "task_type": "{kind}"}}'
    )
    (folder / "adapter_model.safetensors").write_bytes(one_tensor())
    return folder


def test_an_adapter_of_the_store_comes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AdapterStore()
    add_from(store, adapter(tmp_path / "mine"), "mine")
    monkeypatch.chdir(tmp_path)
    found = target.find("mine", tmp_path / "runs")
    assert found.adapter == store.usable_folder("mine")
    assert found.evaluations_dir() == store.usable_folder("mine") / "evaluations"
    assert target.find("./mine", tmp_path / "runs").adapter == tmp_path / "mine"


def test_a_damaged_adapter_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "mine")
    (folder / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match=r"the adapter in .*mine cannot be used: "):
        target.find(str(folder), tmp_path / "runs")


def test_a_classifier_needs_the_names_of_its_classes(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "pets", "SEQ_CLS")
    with pytest.raises(UserError, match=r"is a classifier without labels\.json"):
        target.find(str(folder), tmp_path / "runs")
    (folder / "labels.json").write_text('{"id2label": {"0": "cat", "1": "dog"}}')
    assert target.find(str(folder), tmp_path / "runs").labels == ["cat", "dog"]
