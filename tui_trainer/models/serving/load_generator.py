"""Loads a base for the chat, in a smaller form where memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from tui_trainer.contracts.errors import NoMemoryError, is_out_of_memory
from tui_trainer.contracts.job import Precision, Quantization
from tui_trainer.models import base_model as bases
from tui_trainer.models.base_identity import BaseIdentity
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.store import job_checks

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Form(NamedTuple):
    """How a base is held in memory."""

    precision: Precision
    quantization: Quantization = "none"

    def __str__(self) -> str:
        bits = "" if self.quantization == "none" else f" with {self.quantization} (4 bits)"
        return f"{self.precision}{bits}"


class LoadedBase(NamedTuple):
    """A base that is ready to answer; `notices`: why its form is not the wanted one."""

    generator: TextGenerator
    form: Form
    notices: list[str]


def load_generator(
    origin: BaseIdentity,
    tokenizer: Any,
    device: torch.device,
    form: Form,
    *,
    trust_remote_code: bool,
    on_status: Callable[[str], None],
) -> LoadedBase:
    """Load a base in `form`, or in the next smaller one each time that memory runs out.

    `on_status` receives every change of the form. Raises `UserError`; `NoMemoryError` where
    memory does not suffice for the smallest form either.
    """
    notices: list[str] = []
    while True:
        try:
            loaded = bases.load_base(
                origin.model,
                device,
                _TYPES[form.precision],
                four_bit=form.quantization == "nf4",
                trust_remote_code=trust_remote_code,
                not_finite=origin.not_finite,
            )
            return LoadedBase(TextGenerator(loaded, tokenizer), form, notices)
        except Exception as error:
            if not (isinstance(error, NoMemoryError) or is_out_of_memory(error)):
                raise
            smaller = _smaller(form, device)
            if smaller is None:
                raise NoMemoryError(_out_of_memory(origin.model, form), loading=True) from error
        # After the handler, whose exception keeps the partly loaded base in memory.
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        notices.append(f"the base is loaded in {smaller}, as memory ran out in {form}")
        on_status(f"out of memory in {form}: loading {origin.model} in {smaller}")
        form = smaller


def _smaller(form: Form, device: torch.device) -> Form | None:
    """The next smaller form that is possible here."""
    if form.precision == "fp32":
        return Form("bf16", form.quantization)
    possible = form.quantization == "none" and job_checks.quantization_problem("", "nf4") is None
    return Form(form.precision, "nf4") if possible and device.type != "mps" else None


def _out_of_memory(model: str, form: Form) -> str:
    text = f"out of memory while loading {model} in {form}: end other programs that need memory, "
    if form.quantization == "none" and job_checks.quantization_problem("", "nf4") is not None:
        text += "pip install bitsandbytes, with which it is loaded in 4 bits, "
    return f"{text}or use a smaller base"
