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
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
)
from transformers.utils import logging as _logging

from tui_trainer.contracts.errors import NoMemoryError, UserError, is_out_of_memory
from tui_trainer.contracts.job import Precision
from tui_trainer.hardware import memory
from tui_trainer.models.chat_template import context_length
from tui_trainer.models.completeness import NEW_PARTS, check_loaded
from tui_trainer.store import model_files, paths
from tui_trainer.text import formats

# Bases with fewer bytes of weights stay in fp32, in which teaching the built-in one was measured.
_LEAST_BF16_BYTES = 64 << 20
HUB_SECONDS = 10.0  # timeout of a request to the Hugging Face hub
# Raised by transformers for a folder or id that it cannot load.
_LOADING_ERRORS = (OSError, ValueError, KeyError, RuntimeError, ImportError)


def resolve(model: str) -> str:
    """Return a job's model as `from_pretrained` needs it: a folder or a Hugging Face id."""
    return str(paths.builtin_model()) if model == "builtin" else model


def pick_device() -> torch.device:
    """Return the fastest available device: CUDA, else Apple's MPS, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def has_fast_bf16() -> bool:
    """Whether the processor has instructions for bf16 products (AVX-512 BF16 or AMX)."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(check() for name in checks if (check := getattr(torch.cpu, name, None)))


def fast_precision(model: str, device: torch.device) -> Precision:
    """Return "bf16" where the device calculates fast in it and the base is not small, else
    "fp32"."""
    folder = Path(resolve(model))
    if folder.is_dir():
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        if size < _LEAST_BF16_BYTES:
            return "fp32"
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = device.type != "cpu" or has_fast_bf16()
    return "bf16" if fast else "fp32"


def load_tokenizer(model: str, *, trust_remote_code: bool = False) -> Any:
    """Return the base's tokenizer, with a padding token. Raises `UserError`."""
    _silence_transformers()
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
    tokenizer.generation_stops = _generation_stops(model)
    return tokenizer


def _generation_stops(model: str) -> tuple[int, ...]:
    """Return the end-of-text tokens of the base's settings for generating; none where it has no
    such settings."""
    try:
        config = GenerationConfig.from_pretrained(
            resolve(model), local_files_only=_only_local(model)
        )
    except (*_LOADING_ERRORS, TypeError):
        return ()
    ids = config.eos_token_id
    return tuple(ids) if isinstance(ids, list) else () if ids is None else (ids,)


def context_of(model: str, trust_remote_code: bool = False) -> int | None:
    """Return the most tokens that a base reads, from its configuration; None where unknown. Raises
    `UserError`."""
    try:
        config = AutoConfig.from_pretrained(
            resolve(model),
            trust_remote_code=trust_remote_code,
            local_files_only=_only_local(model),
        )
    except _LOADING_ERRORS as error:
        raise UserError(_explain(model, "configuration", error)) from error
    return context_length(config)


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
    """Load the base model on `device` with weights of type `dtype`, from safetensors only.

    labels: load a text classifier with these classes; a head missing from the files is random.
    four_bit: quantise all linear layers but the last to NF4 with double quantisation (QLoRA,
        arXiv:2305.14314), by bitsandbytes.
    not_finite: tensors in its files with NaN or infinity (`store.model_files`); None: read the
        files for it.

    Raises `UserError` for a model that is missing, of another kind, or has parameters that are
    missing, of another shape or not finite; `NoMemoryError` where memory runs out.
    """
    try:
        return _load_on(model, device, dtype, labels, four_bit, trust_remote_code, not_finite)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        bits = "4 bits" if four_bit else str(dtype).removeprefix("torch.")
        why = f" ({error})" if isinstance(error, MemoryError) and str(error) else ""
        raise NoMemoryError(
            f"out of memory while loading {model} in {bits}{why}: end other programs that need "
            "memory, use a smaller base, or load it with a lower precision or quantization",
            loading=True,
        ) from error


def _load_on(
    model: str,
    device: torch.device,
    dtype: torch.dtype,
    labels: Sequence[str] | None,
    four_bit: bool,
    trust_remote_code: bool,
    not_finite: Sequence[str] | None,
) -> Any:
    _silence_transformers()
    _check_memory(model, device, dtype, four_bit)
    options: dict[str, Any] = {"dtype": dtype, "trust_remote_code": trust_remote_code}
    if labels:
        options |= {"id2label": dict(enumerate(labels)), "num_labels": len(labels)}
        options["label2id"] = {label: index for index, label in enumerate(labels)}
    if four_bit:
        options |= {"quantization_config": _nf4(dtype), "device_map": {"": device}}
    loaded, new = _load(model, bool(labels), options, not_finite)
    if labels and four_bit and new:  # new parts are trained, so they must not be quantised
        options["quantization_config"] = _nf4(dtype, new)
        loaded, new = _load(model, True, options, not_finite)
    if labels:
        setattr(loaded, NEW_PARTS, new)
    if not four_bit:
        return loaded.to(device)
    for layer in loaded.modules():
        # On some CPUs bitsandbytes repacks the weights less exactly at the first evaluation, so
        # that training would continue with another base.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return loaded


def _check_memory(model: str, device: torch.device, dtype: torch.dtype, four_bit: bool) -> None:
    """Raise `MemoryError` where the weights alone exceed the free memory of a CPU: the system would
    kill the process for it instead of reporting it."""
    folder = Path(resolve(model))
    if device.type != "cpu" or not folder.is_dir():
        return
    needed = model_files.loaded_bytes(folder, 0.5 if four_bit else dtype.itemsize)
    free = memory.free_bytes(with_swap=True)
    if needed > free:
        raise MemoryError(f"{formats.size(needed)} needed, {formats.size(free)} free")


def _load(
    model: str, classifies: bool, options: dict[str, Any], not_finite: Sequence[str] | None
) -> tuple[Any, list[str]]:
    """Return the model, and the parts of a classifier that are missing from its files. Raises
    `UserError`."""
    if not_finite is None and Path(resolve(model)).is_dir():
        not_finite = model_files.inspect_whole(Path(resolve(model))).not_finite
    kind: Any = AutoModelForSequenceClassification if classifies else AutoModelForCausalLM
    try:
        loaded, loading_info = kind.from_pretrained(
            resolve(model),
            use_safetensors=True,
            local_files_only=_only_local(model),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # `check_loaded` reports them by name
            **options,
        )
    except _LOADING_ERRORS as error:
        if is_out_of_memory(error):
            raise
        raise UserError(_explain(model, "model", error)) from error
    if not_finite is None:
        folder = _snapshot(model, loaded)
        not_finite = model_files.inspect_whole(folder).not_finite if folder is not None else ()
    new = check_loaded(loaded, resolve(model), loading_info, not_finite, classifies=classifies)
    return loaded, new


def _snapshot(model: str, loaded: Any) -> Path | None:
    """Return the folder in the cache that a hub model was loaded from."""
    revision = getattr(loaded.config, "_commit_hash", None)
    config = try_to_load_from_cache(model, model_files.CONFIG, revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _nf4(dtype: torch.dtype, unquantised: Sequence[str] = ()) -> BitsAndBytesConfig:
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=list(unquantised)
        or None,  # None: the output layer; applies to 4 bits
    )


def parameter_count(parameter: torch.nn.Parameter) -> int:
    """Return the number of values of a parameter, also of one quantised to 4 bits."""
    quantised = getattr(parameter, "quant_state", None)
    return parameter.numel() if quantised is None else math.prod(quantised.shape)


def _only_local(model: str) -> bool:
    """Return whether to read a hub model from the cache without contacting the hub.

    This makes one request with a short timeout, since transformers would retry for minutes without
    a network. Raises `UserError` where neither hub nor cache has the model.
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
    except Exception as error:  # any network error
        if not cached:
            raise UserError(
                f"model {model!r} is neither a local folder nor in the Hugging Face cache, and the "
                f"hub cannot be reached ({_first_line(error)}); name an existing folder or "
                '"builtin"'
            ) from error
    else:
        return False
    return True


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _silence_transformers() -> None:
    """Turn off transformers' warnings and progress bars; errors are raised as exceptions."""
    log: Any = _logging
    log.set_verbosity_error()
    log.disable_progress_bar()


def _explain(model: str, part: str, error: BaseException) -> str:
    first = _first_line(error)
    if Path(resolve(model)).is_dir():
        return f"the {part} in {resolve(model)} cannot be loaded: {first}"
    if "trust_remote_code" in str(error):
        return (
            f"{model} contains its own Python code; "
            "set trust_remote_code = true in the job if you trust it"
        )
    return f"the {part} of {model} cannot be loaded: {first}"
