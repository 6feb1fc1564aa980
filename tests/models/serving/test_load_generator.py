"""A base for the chat is loaded in a smaller form where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tui_trainer.contracts.errors import NoMemoryError, UserError
from tui_trainer.models import base_model
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.serving import load_generator, service
from tui_trainer.models.serving.load_generator import Form, LoadedBase
from tui_trainer.models.serving.server_state import ServerState

Load = Callable[..., tuple[LoadedBase, list[str], list[tuple[str, bool]]]]


@pytest.fixture
def load(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> Load:
    """Loads the tiny base where only the forms `fitting` fit, without quantising it; returns it
    with the messages and the forms that were tried."""
    original = base_model.load_base

    def run(fitting: set[tuple[str, bool]], *, form: Form, bitsandbytes: bool) -> Any:
        tried: list[tuple[str, bool]] = []
        messages: list[str] = []

        def limited(model: str, device: Any, dtype: torch.dtype, **options: Any) -> Any:
            tried.append((str(dtype).removeprefix("torch."), options["four_bit"]))
            if tried[-1] not in fitting:
                raise torch.OutOfMemoryError("injected")
            return original(model, device, dtype, **{**options, "four_bit": False})

        monkeypatch.setattr(base_model, "load_base", limited)
        monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: bitsandbytes)
        loaded = load_generator.load_generator(
            origin_of(str(tiny_base)),
            base_model.load_tokenizer(str(tiny_base)),
            torch.device("cpu"),
            form,
            trust_remote_code=False,
            on_status=messages.append,
        )
        return loaded, messages, tried

    return run


def test_what_fits_is_loaded_as_wanted(load: Load) -> None:
    loaded, messages, _ = load({("float32", False)}, form=Form("fp32"), bitsandbytes=True)
    assert (loaded.form, loaded.notices, messages) == (Form("fp32"), [], [])


def test_out_of_memory_tries_bf16_and_then_four_bits(load: Load, tiny_base: Path) -> None:
    loaded, messages, tried = load({("bfloat16", True)}, form=Form("fp32"), bitsandbytes=True)
    assert tried == [("float32", False), ("bfloat16", False), ("bfloat16", True)]
    assert loaded.form == Form("bf16", "nf4")
    assert messages == [
        f"out of memory in fp32: loading {tiny_base} in bf16",
        f"out of memory in bf16: loading {tiny_base} in bf16 with nf4 (4 bits)",
    ]
    assert loaded.notices[-1] == (
        "the base is loaded in bf16 with nf4 (4 bits), as memory ran out in bf16"
    )


def test_the_last_failure_names_what_would_help(load: Load) -> None:
    with pytest.raises(
        NoMemoryError, match=r"in bf16: .* pip install bitsandbytes, .* or use a sm"
    ):
        load(set(), form=Form("fp32"), bitsandbytes=False)
    with pytest.raises(NoMemoryError, match=r"in bf16 with nf4 \(4 bits\): end") as caught:
        load(set(), form=Form("fp32", "nf4"), bitsandbytes=True)
    assert "bitsandbytes" not in str(caught.value)


def test_quantization_without_bitsandbytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tui_trainer.store.job_checks._installed", lambda _: False)
    state: Any = ServerState(wire=None)  # type: ignore[arg-type]
    with pytest.raises(
        UserError, match=r'chat.quantization = "nf4" needs bitsandbytes: pip install'
    ):
        service.load_service(
            "builtin", state, trust_remote_code=False, threads=1, quantization="nf4"
        )
