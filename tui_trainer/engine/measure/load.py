"""Loading what is evaluated: a base with or without an adapter, or a classifier."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationRequest, LoadRequest
from tui_trainer.engine.setup import usable_threads
from tui_trainer.models import base_model, chat_template, classifier, lora_load
from tui_trainer.models.base_identity import origin_of
from tui_trainer.models.serving.adapter_pool import AdapterPool
from tui_trainer.models.serving.generate import TextGenerator
from tui_trainer.store import job_checks
from tui_trainer.text.formats import count

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode."""

    model: Any
    device: torch.device
    pad: int  # token that fills rows up
    generator: TextGenerator | None = None  # None: a classifier


def load_writer(request: LoadRequest, tokenizer: Any) -> LoadedModel:
    """Load a model that writes answers, with its adapter active. Raises `UserError`."""
    device, dtype = _prepare(request)
    origin = origin_of(request.model)
    model = base_model.load_base(
        request.model,
        device,
        dtype,
        four_bit=request.quantization == "nf4",
        trust_remote_code=request.trust_remote_code,
        not_finite=origin.not_finite,
    )
    base = lora_load.describe(model, origin)
    _check_length(model, request)
    generator = TextGenerator(model, tokenizer)
    if request.adapter is not None:
        pool = AdapterPool(generator.model, base, generator.decoder)
        pool.activate(pool.acquire([(Path(request.adapter), 1.0)]))
    return LoadedModel(model, device, tokenizer.pad_token_id or 0, generator)


def load_classifier(request: EvaluationRequest, tokenizer: Any) -> LoadedModel:
    """Load a classifier: an adapter with its head on a base, or a model folder. Raises
    `UserError`."""
    device, dtype = _prepare(request)
    pad = tokenizer.pad_token_id or 0
    if request.adapter is not None:
        loaded = classifier.load_classifier(
            Path(request.adapter),
            origin_of(request.model),
            request.labels,
            device=device,
            dtype=dtype,
            four_bit=request.quantization == "nf4",
            trust_remote_code=request.trust_remote_code,
        )
        _check_length(loaded.model, request)
        return LoadedModel(loaded.model, device, pad)
    model = base_model.load_base(
        request.model,
        device,
        dtype,
        labels=request.labels,
        four_bit=request.quantization == "nf4",
        trust_remote_code=request.trust_remote_code,
    )
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    _check_length(model, request)
    return LoadedModel(model.eval(), device, pad)


def _prepare(request: LoadRequest) -> tuple[torch.device, torch.dtype]:
    """Set the number of threads; return the device and the type of the weights."""
    problem = job_checks.quantization_problem("--quantization", request.quantization)
    if problem is not None:
        raise UserError(problem)
    torch.set_num_threads(usable_threads())
    device = base_model.pick_device()
    precision = request.precision
    if precision is None:
        on_gpu = device.type == "cuda"
        precision = base_model.fast_precision(request.model, device) if on_gpu else "fp32"
    if precision == "fp16" and device.type != "cuda":
        raise UserError(
            f"--precision fp16 needs an NVIDIA GPU, and the device here is {device.type}; use "
            "bf16 or fp32"
        )
    return device, _TYPES[precision]


def _check_length(model: Any, request: LoadRequest) -> None:
    context = chat_template.context_length(model.config)
    if context is not None and (request.max_length or 0) > context:
        raise UserError(
            f"the base reads at most {count(context)} tokens; give --max-length {context} or less"
        )
