"""Loading an adapter: read from a folder, checked against the base, added to the model."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, set_peft_model_state_dict
from peft.tuners.tuners_utils import check_target_module_exists
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn
from transformers.pytorch_utils import Conv1D

from tui_trainer.contracts.chat.protocol import AdapterFacts
from tui_trainer.contracts.errors import UserError
from tui_trainer.models.base_identity import BaseIdentity, check_origin
from tui_trainer.models.lora_train import CONFIG, WEIGHTS
from tui_trainer.store.adapters import adapter_files

_PREFIX = "base_model.model."
_PARTS = (".lora_A.weight", ".lora_B.weight", ".lora_magnitude_vector")
# Values of a configuration file that `LoraConfig` gets; no other value changes an answer.
_READ = (
    "r", "lora_alpha", "target_modules", "exclude_modules", "fan_in_fan_out", "use_rslora",
    "use_dora", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
)  # fmt: skip
# Values for changes other than low-rank updates of layers, which could not be removed again.
_REFUSED = (
    "modules_to_save", "trainable_token_indices", "layer_replication", "target_parameters",
    "alora_invocation_tokens", "lora_bias", "megatron_config", "use_qalora", "use_bdlora",
    "arrow_config", "kasa_config", "monteclora_config", "velora_config",
)  # fmt: skip
# Initialisations that leave the base unchanged; others (PiSSA, OLoRA, CorDA, LoftQ) subtract the
# initial update from the base's weights.
_HARMLESS_INIT = (None, True, False, "gaussian", "eva", "orthogonal")

# Held while layers are built: libraries change settings of the whole process for it (default type,
# no allocation of weights), which must not happen in two threads at once.
BUILDING = threading.Lock()


@dataclass(frozen=True)
class Base:
    """What an adapter must fit."""

    origin: BaseIdentity
    # Linear layers by full name, in the model's order: numbers of inputs and outputs.
    layers: Mapping[str, tuple[int, int]]


@dataclass(frozen=True)
class Update:
    """The change of one layer's weights, `scale * up @ down`, in fp32."""

    down: torch.Tensor  # (rank, inputs)
    up: torch.Tensor  # (outputs, rank)
    scale: float
    magnitude: torch.Tensor | None = None  # (outputs,), of DoRA


@dataclass(frozen=True)
class ReadAdapter:
    """A complete adapter that fits the base."""

    facts: AdapterFacts
    config: LoraConfig
    updates: dict[str, Update]  # by full layer name, in the base's order


def describe(model: nn.Module, origin: BaseIdentity) -> Base:
    """Describe a base without adapters."""
    layers = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            layers[name] = (module.in_features, module.out_features)
        elif isinstance(module, Conv1D):
            layers[name] = (module.nx, module.nf)
    return Base(origin, layers)


def read(folder: Path, base: Base) -> ReadAdapter:
    """Read an adapter into memory (safetensors only, never a pickle).

    Raises `UserError` for another base, unknown layers, wrong shapes, values that are not finite,
    a damaged or incomplete file, and changes other than low-rank updates.
    """
    info = adapter_files.read_info(folder)
    wrong = adapter_files.problem(folder) if info else adapter_files.weights_problem(folder)
    if wrong:
        raise UserError(f"the adapter in {folder} cannot be used: {wrong}")
    try:
        values = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        tensors: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
        size = (folder / WEIGHTS).stat().st_size
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the adapter in {folder} cannot be read: {error}") from error
    try:
        named, known_hash = check_origin(folder, info, values, base.origin)
        config = _config(values)
        updates = _updates(tensors, config, base)
    except UserError as error:
        raise UserError(f"the adapter in {folder} cannot be used: {error}") from None
    facts = AdapterFacts(
        folder=str(folder),
        rank=max(update.down.shape[0] for update in updates.values()),
        alpha=float(config.lora_alpha),
        layers=list(updates),
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        bytes=size,
        base_model=named,
        base_hash=known_hash,
        dora=bool(config.use_dora),
    )
    return ReadAdapter(facts, config, updates)


def add_adapter(
    model: Any, peft_model: PeftModel | None, adapter: ReadAdapter, name: str
) -> PeftModel:
    """Add an adapter to `model` under `name` (without dots), without activating it.

    `peft_model` is the result of an earlier call for the same `model`, None in the first one.
    Raises `UserError`.
    """
    try:
        with BUILDING:
            if peft_model is None:
                peft_model = PeftModel(model, adapter.config, name, low_cpu_mem_usage=True)
            else:
                peft_model.add_adapter(name, adapter.config, low_cpu_mem_usage=True)
            result: Any = set_peft_model_state_dict(
                peft_model, _state(adapter), adapter_name=name, low_cpu_mem_usage=True
            )
    except (ValueError, RuntimeError, KeyError) as error:
        raise UserError(f"PEFT refuses the adapter in {adapter.facts.folder}: {error}") from error
    missing = [key for key in result.missing_keys if f".{name}" in key]
    wrong = [*result.unexpected_keys, *missing]
    if wrong:
        raise UserError(
            f"the adapter in {adapter.facts.folder} does not fit the base: {wrong[0]} is missing "
            "or unknown"
        )
    model.eval()
    return peft_model


def _config(values: dict[str, Any]) -> LoraConfig:
    extra = [name for name in _REFUSED if values.get(name)]
    if values.get("bias", "none") != "none":
        extra.append("bias")
    if extra:
        raise UserError(
            f"it contains more than low-rank updates ({extra[0]}), which cannot be removed from "
            "the base again; train an adapter without it"
        )
    start = values.get("init_lora_weights")
    if start not in _HARMLESS_INIT:
        raise UserError(
            f"it was initialised with init_lora_weights = {start!r}, which changes the base; "
            "save it converted to a plain LoRA (PEFT: path_initial_model_for_weight_conversion)"
        )
    try:
        config = LoraConfig(
            **{name: values[name] for name in _READ if values.get(name) is not None},
            task_type="CAUSAL_LM",
            inference_mode=True,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"{CONFIG} is not valid: {error}") from error
    if not config.target_modules or not isinstance(config.r, int) or config.r < 1:
        raise UserError(f"{CONFIG} is not valid: it needs r and target_modules")
    return config


def _updates(tensors: dict[str, torch.Tensor], config: LoraConfig, base: Base) -> dict[str, Update]:
    """Return the updates by layer, after checking every tensor."""
    parts: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        part = next((p for p in _PARTS if key.endswith(p)), None)
        if part is None or not key.startswith(_PREFIX):
            raise UserError(f"{WEIGHTS} contains {key}, which is not a low-rank update of a layer")
        parts.setdefault(key.removeprefix(_PREFIX).removesuffix(part), {})[part] = tensor
    for layer in parts:
        if layer not in base.layers:
            raise UserError(f"it changes {layer}, which this base does not have")
    named = {layer for layer in base.layers if check_target_module_exists(config, layer)}
    missing = next((layer for layer in base.layers if layer in named - parts.keys()), None)
    if missing is not None:
        raise UserError(f"its configuration names {missing}, for which it has no weights")
    unnamed = next((layer for layer in parts if layer not in named), None)
    if unnamed is not None:
        raise UserError(f"it has weights for {unnamed}, which its configuration does not name")
    return {
        layer: _update(layer, parts[layer], config, base.layers[layer])
        for layer in base.layers
        if layer in parts
    }


def _update(
    layer: str, parts: dict[str, torch.Tensor], config: LoraConfig, size: tuple[int, int]
) -> Update:
    rank = int(_pattern(config.rank_pattern, layer, config.r))
    alpha = float(_pattern(config.alpha_pattern, layer, config.lora_alpha))
    inputs, outputs = size
    shapes = [[rank, inputs], [outputs, rank], [outputs]]
    wanted = _PARTS if config.use_dora else _PARTS[:2]
    for part, shape in zip(_PARTS, shapes, strict=True):
        if (part in parts) != (part in wanted):
            verb = "does not contain" if part in wanted else "has an unexpected"
            raise UserError(f"it {verb} {layer}{part}")
        if part in parts and list(parts[part].shape) != shape:
            raise UserError(
                f"{layer}{part} has the shape {list(parts[part].shape)}; {shape} is needed"
            )
    for part, tensor in parts.items():
        if not tensor.is_floating_point() or not bool(torch.isfinite(tensor.float()).all()):
            raise UserError(f"{layer}{part} contains values that are not finite numbers")
    magnitude = parts.get(_PARTS[2])
    return Update(
        down=parts[_PARTS[0]].float(),
        up=parts[_PARTS[1]].float(),
        scale=alpha / (rank**0.5 if config.use_rslora else rank),
        magnitude=None if magnitude is None else magnitude.float(),
    )


def _pattern(pattern: dict[str, Any] | None, layer: str, otherwise: Any) -> Any:
    """Return the value of the pattern that matches a layer, as PEFT does; else `otherwise`."""
    return pattern.get(get_pattern_key(list(pattern), layer), otherwise) if pattern else otherwise


def _state(adapter: ReadAdapter) -> dict[str, torch.Tensor]:
    """Return the tensors by PEFT's names, in fp32."""
    getters: list[tuple[str, Callable[[Update], torch.Tensor | None]]] = [
        (_PARTS[0], lambda update: update.down),
        (_PARTS[1], lambda update: update.up),
        (_PARTS[2], lambda update: update.magnitude),
    ]
    return {
        f"{_PREFIX}{layer}{part}": tensor
        for layer, update in adapter.updates.items()
        for part, get in getters
        if (tensor := get(update)) is not None
    }
