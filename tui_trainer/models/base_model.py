"""Loading a base model and its tokenizer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, try_to_load_from_cache
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
)
from transformers.utils import logging as _logging

from tui_trainer.contracts.errors import UserError
from tui_trainer.models.completeness import NEW_PARTS, check_loaded
from tui_trainer.store import model_files, paths

# What transformers raises for a folder or id that it cannot use.
HUB_SECONDS = 10.0
_LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)


def resolve(model: str) -> str:
    """What `from_pretrained` takes for a job's model: the built-in folder, a folder or an id."""
    return str(paths.builtin_model()) if model == "builtin" else model


def pick_device() -> torch.device:
    """The fastest device there is: CUDA, Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bf16() -> bool:
    """Whether the processor has instructions for bf16 products (AVX-512 BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(check() for name in checks if (check := getattr(torch.cpu, name, None)))


def load_tokenizer(model: str, *, trust_remote_code: bool = False) -> Any:
    """The base's tokenizer, with a padding token. Raises `UserError`."""
    _quieten()
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            resolve(model),
            trust_remote_code=trust_remote_code,
            local_files_only=_only_local(model),
        )
    except _LOADING_ERRORS as error:
        raise UserError(_explain(model, "tokenizer", error)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    labels: Sequence[str] | None = None,
    four_bit: bool = False,
    trust_remote_code: bool = False,
    not_finite: Sequence[str] | None = None,
) -> Any:
    """The base model on `device` with `dtype` weights, from safetensors only; with `labels` as a
    classifier of texts, whose head begins at random; with `four_bit` its linear layers but the
    last in NF4, the scales quantised again (QLoRA, arXiv:2305.14314), by bitsandbytes.

    `not_finite` are the tensors in its files that hold NaN or infinity (`store.model_files`); the
    files are read for it where None is given. Raises `UserError` in one sentence where the model
    is absent, of another kind, or lacks parameters that its architecture needs, or has them in
    another shape or not finite.
    """
    _quieten()
    named: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    if labels:
        named |= {"id2label": dict(enumerate(labels)), "num_labels": len(labels)}
        named["label2id"] = {label: index for index, label in enumerate(labels)}
    if four_bit:
        named |= {"quantization_config": _nf4(dtype), "device_map": {"": device}}
    loaded, new = _load(model, bool(labels), named, not_finite)
    if labels and four_bit and new:  # what begins at random is trained whole, not in four bits
        named["quantization_config"] = _nf4(dtype, new)
        loaded, new = _load(model, True, named, not_finite)
    if labels:
        setattr(loaded, NEW_PARTS, new)
    if not four_bit:
        return loaded.to(device)
    for layer in loaded.modules():
        # On some CPUs bitsandbytes packs the weights anew, and less exactly, at the first
        # evaluation: training would go on with another base.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return loaded


def _load(
    model: str, classifies: bool, named: dict[str, Any], not_finite: Sequence[str] | None
) -> tuple[Any, list[str]]:
    """The model, and of a classifier the parts that its files lack. Raises `UserError`."""
    if not_finite is None and Path(resolve(model)).is_dir():
        not_finite = model_files.inspect_whole(Path(resolve(model))).not_finite
    kind: Any = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    try:
        loaded, how = kind.from_pretrained(
            resolve(model),
            use_safetensors=True,
            local_files_only=_only_local(model),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # else the error names nothing; `check_loaded` does
            **named,
        )
    except _LOADING_ERRORS as error:
        raise UserError(_explain(model, "model", error)) from error
    if not_finite is None:
        folder = _snapshot(model, loaded)
        not_finite = model_files.inspect_whole(folder).not_finite if folder is not None else ()
    return loaded, check_loaded(loaded, resolve(model), how, not_finite, classifies=classifies)


def _snapshot(model: str, loaded: Any) -> Path | None:
    """The folder in the cache that a hub model was loaded from."""
    revision = getattr(loaded.config, "_commit_hash", None)
    config = try_to_load_from_cache(model, model_files.CONFIG, revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _nf4(dtype: torch.dtype, whole: Sequence[str] = ()) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(whole) or None,  # else the output layer; an old name
    )


def parameter_count(parameter: torch.nn.Parameter) -> int:
    """How many numbers a parameter stands for: of one in four bits two share a byte."""
    quantised = getattr(parameter, "quant_state", None)
    return parameter.numel() if quantised is None else math.prod(quantised.shape)


def _only_local(model: str) -> bool:
    """Whether to read a hub model from the cache without asking the hub.

    One question with a short time limit: transformers itself would ask again for minutes
    where there is no network. Raises `UserError` where neither hub nor cache has the model.
    """
    if Path(resolve(model)).is_dir():
        return True
    cached = isinstance(try_to_load_from_cache(model, "config.json"), str)
    try:
        HfApi().model_info(model, timeout=HUB_SECONDS)
    except (HFValidationError, RepositoryNotFoundError):
        if not cached:
            raise UserError(
                f"model {model!r} is neither a local folder nor on the Hugging Face hub (a private "
                'one needs a login); name a folder, an id such as "owner/name", or "builtin"'
            ) from None
    except Exception as error:  # whatever a network may do
        if not cached:
            raise UserError(
                f"model {model!r} is no local folder, is not in the Hugging Face cache, and the "
                f"hub cannot be reached ({_first_line(error)}); name a folder that is here, or "
                '"builtin"'
            ) from error
    else:
        return False
    return True


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _quieten() -> None:
    """transformers' own warnings and bars are for notebooks; errors come as exceptions."""
    log: Any = _logging
    log.set_verbosity_error()
    log.disable_progress_bar()


def _explain(model: str, part: str, error: BaseException) -> str:
    first = _first_line(error)
    if Path(resolve(model)).is_dir():
        return f"the {part} in {resolve(model)} cannot be loaded: {first}"
    if "trust_remote_code" in str(error):
        return (
            f"{model} brings Python code of its own; "
            "set trust_remote_code = true in the job if you trust it"
        )
    return f"the {part} of {model} cannot be loaded: {first}"
