"""The precision of a device, and lack of memory while a base is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.contracts.errors import NoMemoryError
from tui_trainer.models import base_model
from tui_trainer.store import model_files

CPU = torch.device("cpu")


@pytest.fixture
def large_base(tmp_path: Path) -> str:
    """A folder whose weights are as large as those of a base that is not small."""
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(1 << 30)  # a sparse file
    return str(tmp_path)


@pytest.mark.parametrize("fast", [True, False])
def test_a_cpu_calculates_in_bf16_only_where_it_is_fast(
    large_base: str, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base_model, "has_fast_bf16", lambda: fast)
    expected = "bf16" if fast else "fp32"
    assert base_model.fast_precision(large_base, CPU) == expected
    assert base_model.fast_precision("owner/name", CPU) == expected, "its size is not known"


@pytest.mark.parametrize("supported", [True, False])
def test_a_gpu_calculates_in_bf16_where_it_supports_it(
    large_base: str, supported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: supported)
    expected = "bf16" if supported else "fp32"
    assert base_model.fast_precision(large_base, torch.device("cuda")) == expected


def test_a_small_base_stays_in_fp32(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "has_fast_bf16", lambda: True)
    assert base_model.fast_precision(str(tiny_base), CPU) == "fp32"
    assert base_model.fast_precision("builtin", CPU) == "fp32"


def test_lack_of_memory_is_told_from_a_base_that_cannot_be_loaded(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(NoMemoryError, match=r"while loading .* in float32: end other") as caught:
        base_model.load_base(str(tiny_base), CPU, torch.float32)
    assert caught.value.loading


def test_weights_larger_than_the_free_memory_are_not_loaded(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = model_files.loaded_bytes(tiny_base, 4)
    monkeypatch.setattr("tui_trainer.hardware.memory.free_bytes", lambda **_: needed - 1)
    with pytest.raises(NoMemoryError, match=r"in float32 \(.* needed, .* free\): end other"):
        base_model.load_base(str(tiny_base), CPU, torch.float32)
    assert base_model.load_base(str(tiny_base), CPU, torch.bfloat16) is not None
