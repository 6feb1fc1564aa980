"""Comparing and merging adapters."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, dynamic_module_utils

from tui_trainer.contracts.errors import UserError
from tui_trainer.models import base_model as bases
from tui_trainer.models import lora_compare, lora_load, lora_merge
from tui_trainer.models.base_identity import BaseIdentity, origin_of
from tui_trainer.models.serving.adapter_pool import AdapterPool
from tui_trainer.store import paths

Make = Callable[..., Path]
Logits = Callable[[Any], torch.Tensor]


def facts_of(folder: Path) -> lora_load.Base:
    model = bases.load_base(str(folder), torch.device("cpu"), torch.float32)
    return lora_load.describe(model, origin_of(str(folder)))


def test_norms_and_angles_are_those_of_the_whole_changes(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make
) -> None:
    a = lora_load.read(make_adapter(qwen2_base, seed=1), qwen2_facts)
    b = lora_load.read(
        make_adapter(qwen2_base, seed=2, r=7, target_modules=["q_proj", "v_proj"]), qwen2_facts
    )
    found = lora_compare.compare(qwen2_facts, a, b)
    changed = a.updates.keys() | b.updates.keys()
    assert [r.layer for r in found.layers] == [n for n in qwen2_facts.layers if n in changed]
    total = [0.0, 0.0, 0.0, 0.0]
    for row in found.layers:
        changes = []
        for adapter in (a, b):
            update = adapter.updates.get(row.layer)
            size = qwen2_facts.layers[row.layer]
            changes.append(
                torch.zeros(size[1], size[0], dtype=torch.float64)
                if update is None
                else update.scale * update.up.double() @ update.down.double()
            )
        one, two = changes
        apart, inner = (one - two).norm().item(), (one * two).sum().item()
        assert (row.a, row.b, row.difference) == pytest.approx(
            (one.norm().item(), two.norm().item(), apart), abs=1e-9
        )
        if row.a and row.b:
            assert row.cosine == pytest.approx(inner / (row.a * row.b), abs=1e-9)
        else:
            assert row.cosine is None
        for at, value in enumerate((row.a**2, row.b**2, apart**2, inner)):
            total[at] += value
    whole = found.whole
    assert (whole.a**2, whole.b**2, whole.difference**2) == pytest.approx(tuple(total[:3]))
    assert whole.cosine == pytest.approx(total[3] / (whole.a * whole.b))


def test_an_adapter_does_not_differ_from_itself(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make
) -> None:
    adapter = lora_load.read(make_adapter(qwen2_base, seed=1), qwen2_facts)
    found = lora_compare.compare(qwen2_facts, adapter, adapter).whole
    assert found.difference < 1e-12 * found.a
    assert found.cosine == pytest.approx(1.0)


def test_dora_is_not_compared(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make
) -> None:
    plain = lora_load.read(make_adapter(qwen2_base, seed=1), qwen2_facts)
    dora = lora_load.read(make_adapter(qwen2_base, seed=1, use_dora=True), qwen2_facts)
    with pytest.raises(UserError, match="only plain LoRA adapters can be compared"):
        lora_compare.compare(qwen2_facts, plain, dora)


@pytest.mark.parametrize("dora", [False, True])
@pytest.mark.parametrize("name", ["qwen2_base", "llama3_base", "builtin"])
def test_a_merged_model_gives_the_same_logits_without_peft(
    name: str,
    dora: bool,
    request: pytest.FixtureRequest,
    make_adapter: Make,
    logits: Logits,
    tmp_path: Path,
) -> None:
    folder = paths.builtin_model() if name == "builtin" else request.getfixturevalue(name)
    facts = facts_of(folder)
    adapter = make_adapter(folder, seed=3, strength=0.1, use_dora=dora)
    out = tmp_path / "deep" / "merged"
    (out.parent / ".merged.0123abcd.tmp").mkdir(parents=True)  # a merge was killed here before
    stages: list[int] = []

    size = lora_merge.merge(facts, adapter, out, on_stage=stages.append)

    model = bases.load_base(str(folder), torch.device("cpu"), torch.float32).eval()
    alone = logits(model)
    pool = AdapterPool(model, facts)
    pool.activate(pool.acquire([(adapter, 1.0)]))
    merged: Any = AutoModelForCausalLM.from_pretrained(out)
    assert type(merged) is type(model)
    assert not any("lora" in key for key in merged.state_dict())
    wanted = logits(model)
    assert (logits(merged) - wanted).abs().max() < 1e-5 * max(1.0, wanted.abs().max().item())
    assert (wanted - alone).abs().max() > 1e-2

    tokenizer, before = (AutoTokenizer.from_pretrained(where) for where in (out, folder))
    assert tokenizer.chat_template == before.chat_template
    assert tokenizer.get_vocab() == before.get_vocab()
    for file in ("config.json", "generation_config.json"):
        ours, theirs = (json.loads((where / file).read_text()) for where in (out, folder))
        for values in (ours, theirs):
            values.pop("transformers_version", None)
        assert ours == theirs
    assert stages == [0, 1, 2, 3]
    assert size == sum(file.stat().st_size for file in out.iterdir())
    assert [file.name for file in out.parent.iterdir()] == ["merged"]


def test_a_target_that_is_not_empty_is_refused(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make, tmp_path: Path
) -> None:
    adapter = make_adapter(qwen2_base, seed=1)
    full, file, empty = tmp_path / "full", tmp_path / "file", tmp_path / "empty"
    full.mkdir()
    (full / "mine").write_text("mine")
    file.write_text("mine")
    empty.mkdir()
    for out in (full, file):
        with pytest.raises(UserError, match="exists and is not an empty folder"):
            lora_merge.merge(qwen2_facts, adapter, out)
    assert (full / "mine").read_text() == file.read_text() == "mine"
    lora_merge.merge(qwen2_facts, adapter, empty)
    assert (empty / "model.safetensors").is_file()


def test_a_quantised_base_is_refused(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "four-bits"
    shutil.copytree(qwen2_base, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_4bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    quantised = lora_load.Base(BaseIdentity(str(folder), folder, None), qwen2_facts.layers)
    with pytest.raises(UserError, match="is quantised, and merging into it"):
        lora_merge.merge(quantised, make_adapter(qwen2_base, seed=1), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_ends_a_merge_leaves_no_trace(
    qwen2_base: Path, qwen2_facts: lora_load.Base, make_adapter: Make, tmp_path: Path
) -> None:
    def stop(done: int) -> None:
        if done == 3:
            assert any(tmp_path.iterdir())
            raise UserError("cancelled", 130)

    with pytest.raises(UserError, match="cancelled"):
        lora_merge.merge(
            qwen2_facts, make_adapter(qwen2_base, seed=1), tmp_path / "out", on_stage=stop
        )
    assert not any(tmp_path.iterdir())


def test_a_merge_that_does_not_fit_on_the_disk_is_not_begun(
    qwen2_base: Path,
    qwen2_facts: lora_load.Base,
    make_adapter: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 1000)
    )
    with pytest.raises(UserError, match="has 1,000 B free, and the merged model needs"):
        lora_merge.merge(qwen2_facts, make_adapter(qwen2_base, seed=1), tmp_path / "out")
    assert not any(tmp_path.iterdir())


def test_a_base_with_code_of_its_own_keeps_it(
    tiny_base: Path, make_adapter: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    folder, out = tmp_path / "own", tmp_path / "merged"
    shutil.copytree(tiny_base, folder)
    (folder / "modeling_own.py").write_text(
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        "class OwnConfig(LlamaConfig):\n    model_type = 'own'\n"
        "class Own(LlamaForCausalLM):\n    config_class = OwnConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "own", "architectures": ["Own"]}
    config["auto_map"] = {
        "AutoConfig": "modeling_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.Own",
    }
    (folder / "config.json").write_text(json.dumps(config))
    model = bases.load_base(str(folder), torch.device("cpu"), torch.float32, trust_remote_code=True)
    facts = lora_load.describe(model, origin_of(str(folder)))
    adapter = make_adapter(tiny_base, seed=1)
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(folder)
    (adapter / "adapter_config.json").write_text(json.dumps(config))

    lora_merge.merge(facts, adapter, out, trust_remote_code=True)

    merged: Any = AutoModelForCausalLM.from_pretrained(out, trust_remote_code=True)
    assert type(merged).__name__ == "Own"


def test_adapters_are_loaded_while_a_merge_loads_its_own_base(
    qwen2_base: Path,
    qwen2_facts: lora_load.Base,
    qwen2_model: Any,
    make_adapter: Make,
    logits: Logits,
    tmp_path: Path,
) -> None:
    """Both build layers, and libraries build layers under settings of the whole process."""
    adapter = make_adapter(qwen2_base, seed=1)
    pool = AdapterPool(qwen2_model, qwen2_facts)
    with ThreadPoolExecutor(1) as executor:
        merges = [
            executor.submit(lora_merge.merge, qwen2_facts, adapter, tmp_path / f"merged{number}")
            for number in range(6)
        ]
        while not merges[-1].done():
            mix = pool.acquire([(adapter, 1.0)])
            pool.activate(mix)
            wanted = logits(qwen2_model)
            pool.release(mix)
        for merge in merges:
            merge.result()
    for number in range(6):
        merged = AutoModelForCausalLM.from_pretrained(tmp_path / f"merged{number}")
        assert (logits(merged) - wanted).abs().max() < 1e-5 * wanted.abs().max()
