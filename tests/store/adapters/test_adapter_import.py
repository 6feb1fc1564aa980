"""Adapters from runs and from elsewhere come into the store with what is known of them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.store import atomic, jobs
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.model_files import hash_model
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.run_folder import RunFolder

CONFIG = {
    "peft_type": "LORA", "r": 4, "lora_alpha": 8, "lora_dropout": 0.1,
    "target_modules": ["q_proj"], "base_model_name_or_path": "someone/base",
}  # fmt: skip


def write_adapter(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True)
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / files.WEIGHTS).write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    (folder / files.CONFIG).write_text(json.dumps({**CONFIG, **changes}))
    return folder


@pytest.fixture
def run(tmp_path: Path, write_rows: Callable[..., Path]) -> RunFolder:
    file = write_rows("train.jsonl", [{"question": "what?", "answer": "that"}])
    job = jobs.check_job({"name": "my.run", "data": {"train": str(file)}}, tmp_path, "test")
    return run_folder.create_run(tmp_path / "runs", job)


def test_a_runs_adapter_keeps_its_facts(run: RunFolder) -> None:
    write_adapter(run.adapter_dir)
    store = AdapterStore()
    assert add_from(store, run.path).name == "my-run"
    assert add_from(store, run.adapter_dir).name == "my-run-2"
    info, made = store.get("my-run"), run.info()
    assert made is not None
    assert (info.run_id, info.base_hash) == (made.id, made.base_hash)
    assert (info.base_model, info.lora) == ("builtin", made.job.lora)
    assert store.problem("my-run") is None


def test_a_run_without_an_adapter_is_an_error(run: RunFolder) -> None:
    with pytest.raises(UserError, match="is idle and has no adapter yet"):
        add_from(AdapterStore(), run.path)


def test_a_foreign_adapter_has_the_facts_of_its_peft_configuration(tmp_path: Path) -> None:
    store = AdapterStore()
    folder = write_adapter(tmp_path / "some thing!")
    assert add_from(store, folder).name == "some-thing"
    info = store.get("some-thing")
    assert (info.base_model, info.base_hash) == ("someone/base", None)
    assert (info.lora.rank, info.lora.alpha, info.lora.target_modules) == (4, 8, ["q_proj"])
    with pytest.raises(UserError, match="already an adapter 'some-thing'"):
        add_from(store, folder, "some-thing")


def test_the_base_of_an_adapter_from_elsewhere_can_be_given(
    tmp_path: Path, run: RunFolder, tiny_base: Path
) -> None:
    """As in a copy of a run's `adapter/`, which has only the name of the base's folder."""
    store = AdapterStore()
    add_from(store, write_adapter(tmp_path / "copied"), base=str(tiny_base))
    info = store.get("copied")
    assert (info.base_model, info.base_hash) == (str(tiny_base), hash_model(tiny_base))
    write_adapter(run.adapter_dir)
    with pytest.raises(UserError, match=r"made for another base .builtin., not for"):
        add_from(store, run.path, base=str(tiny_base))
    with pytest.raises(UserError, match=r"--base: model folder .* does not exist"):
        add_from(store, run.path, base="/absent")


def test_an_exported_adapter_comes_back_as_it_was(tmp_path: Path) -> None:
    store = AdapterStore()
    add_from(store, write_adapter(tmp_path / "mine"))
    files.copy_out(store.folder("mine"), tmp_path / "copy")
    assert add_from(store, tmp_path / "copy", "again").name == "again"
    assert store.get("again").lora == store.get("mine").lora


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"base_model_name_or_path": None}, "does not name its base model"),
        ({"r": 0}, "`$.rank`"),
        ({"target_modules": None}, "`$.target_modules`"),
        ({"peft_type": "IA3"}, "only LORA is supported"),
    ],
)
def test_what_is_no_adapter_is_refused(
    tmp_path: Path, changes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(UserError) as caught:
        add_from(AdapterStore(), write_adapter(tmp_path / "odd", **changes))
    assert expected in str(caught.value)
    assert AdapterStore().list() == []


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        add_from(AdapterStore(), tmp_path / "absent")


def test_a_runs_evaluations_come_along(run: RunFolder, tmp_path: Path) -> None:
    write_adapter(run.adapter_dir)
    run.evaluations_dir.mkdir()
    for name, adapter in (("test", run.adapter_dir), ("early", run.checkpoints_dir / "step-1")):
        scores = EvaluationScores(
            name=name, time=4e9, adapter=str(adapter), data_hash="d", rows=1, metrics={"loss": 1.0}
        )
        atomic.write_json(run.evaluations_dir / f"{name}.json", scores)
    store = AdapterStore(tmp_path / "adapters")
    added = add_from(store, run.path)
    assert [scores.name for scores in store.entry(added.name).evaluations] == ["test"]
