"""Attaching LoRA to a base for training, and saving the adapter in PEFT's format."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from peft import LoraConfig, get_peft_model
from peft.utils.other import get_pattern_key
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import LoraSettings
from tui_trainer.models.completeness import NEW_PARTS
from tui_trainer.models.tied_weights import untie

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
_HEADS = ("score", "classifier")  # names that PEFT treats as a classifier's head
_INITIAL = "_tui_trainer_first"  # attribute of a model with the initial values of PiSSA
# The saved parameters of each model, by PEFT's names.
_PARAMETERS: WeakKeyDictionary[nn.Module, dict[str, nn.Parameter]] = WeakKeyDictionary()


@dataclass(frozen=True)
class SavedAdapter:
    """A copy of an adapter."""

    tensors: dict[str, torch.Tensor]  # on the CPU, by PEFT's names
    config: LoraConfig


def attach(base: Any, lora: LoraSettings) -> Any:
    """Return `base` wrapped by PEFT with new LoRA weights in fp32. Only those are trainable, and
    the parts of a classifier that are missing from its files, such as the head.

    Uses torch's global random state. Raises `UserError` for targets that the base does not have,
    and for a rank above the dimensions of a layer.
    """
    targets = lora.target_modules
    new = getattr(base, NEW_PARTS, None)
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=_whole(lora.alpha),
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=lora.rslora,
        use_dora=lora.dora,
        init_lora_weights=True if lora.init == "default" else lora.init,
        rank_pattern=dict(lora.rank_pattern),
        alpha_pattern={name: _whole(alpha) for name, alpha in lora.alpha_pattern.items()},
        task_type="CAUSAL_LM" if new is None else "SEQ_CLS",
        modules_to_save=new or None,
        exclude_modules=new or None,
    )
    layers = _layers(base, targets, new or ())
    _check_ranks(layers, lora)
    if lora.init == "pissa":  # it subtracts the initial update from the weights of these layers
        untie(base, layers)
    try:
        model: Any = get_peft_model(base, config)
    except ValueError as error:
        raise UserError(f"lora.target_modules = {targets!r}: {_first_sentence(error)}") from error
    for parameter in trainable(model).values():  # a new head is in the base's type
        parameter.data = parameter.data.float()
    if lora.init == "pissa":
        setattr(model, _INITIAL, copy_adapter(model, "").tensors)
    return model


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return the trained parameters by name, in a fixed order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def save_adapter(
    model: Any, folder: Path, base_reference: str, checkpoint: Path | None = None
) -> None:
    """Write `adapter_model.safetensors` and `adapter_config.json` into `folder`, as an adapter of
    the unchanged base: one initialised by PiSSA is converted, to twice the rank.

    The weights are those in `checkpoint`, else the model's.
    """
    saved = copy_adapter(model, base_reference)
    if checkpoint is not None:
        saved = SavedAdapter(load_file(checkpoint / WEIGHTS), saved.config)
    initial: dict[str, torch.Tensor] | None = getattr(model, _INITIAL, None)
    write_adapter(saved if initial is None else _subtract_initial(saved, initial), folder)


def copy_adapter(model: Any, base_reference: str) -> SavedAdapter:
    """Return a copy of the adapter, which further training does not change."""
    tensors = {
        name: value.detach().to("cpu", copy=True).contiguous()
        for name, value in _saved_parameters(model).items()
    }
    config = copy.copy(model.peft_config[model.active_adapter])
    config.inference_mode, config.base_model_name_or_path = True, base_reference
    return SavedAdapter(tensors, config)


def write_adapter(saved: SavedAdapter, folder: Path) -> None:
    """Write a copied adapter in PEFT's format."""
    save_file(saved.tensors, folder / WEIGHTS, metadata={"format": "pt"})
    saved.config.save_pretrained(str(folder))
    _sort_targets(folder / CONFIG)


def _subtract_initial(saved: SavedAdapter, initial: dict[str, torch.Tensor]) -> SavedAdapter:
    """Return the saved update minus the initial one, with twice the rank: B A - B0 A0 is the
    product of (B, -B0) and (A, A0). DoRA's magnitudes and a classifier's head stay unchanged."""
    tensors = dict(saved.tensors)
    for name, value in saved.tensors.items():
        if ".lora_A." in name or ".lora_embedding_A" in name:
            tensors[name] = torch.cat([value, initial[name]], dim=0)
        elif ".lora_B." in name or ".lora_embedding_B" in name:
            tensors[name] = torch.cat([value, -initial[name]], dim=1)
    config = copy.copy(saved.config)
    growth = 2**0.5 if config.use_rslora else 2  # keeps the scale
    config.r, config.lora_alpha = 2 * config.r, growth * config.lora_alpha  # type: ignore[assignment]
    config.rank_pattern = {name: 2 * rank for name, rank in (config.rank_pattern or {}).items()}
    config.alpha_pattern = {
        name: growth * alpha for name, alpha in (config.alpha_pattern or {}).items()
    }
    config.init_lora_weights = True
    return SavedAdapter(tensors, config)


def load_weights(model: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Copy an adapter's saved tensors into the attached adapter.

    Raises `UserError` where names or shapes do not match exactly.
    """
    own = _saved_parameters(model)
    if own.keys() != tensors.keys():
        missing = sorted(own.keys() - tensors.keys())
        reason = f"it has no {missing[0]}"
        if not missing:
            reason = f"it has an unknown {sorted(tensors.keys() - own.keys())[0]}"
        raise UserError(f"the saved adapter does not fit this base and job: {reason}")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != tensors[name].shape:
                raise UserError(
                    "the saved adapter does not fit this base and job: the shape of "
                    f"{name} is {list(tensors[name].shape)}, {list(parameter.shape)} is needed"
                )
            parameter.copy_(tensors[name])


def _saved_parameters(model: Any) -> dict[str, nn.Parameter]:
    """Return the trained parameters by PEFT's names. PEFT itself also saves the frozen weights of a
    targeted output layer or embedding, which belong to the base. The result is cached, since
    training waits while a checkpoint is copied."""
    known = _PARAMETERS.get(model)
    if known is None:
        adapter = model.active_adapter
        known = {_saved_name(name, adapter): p for name, p in trainable(model).items()}
        _PARAMETERS[model] = known
    return known


def _saved_name(name: str, adapter: str) -> str:
    """Return a parameter's name in PEFT's files."""
    name = name.replace(f".lora_magnitude_vector.{adapter}.weight", ".lora_magnitude_vector")
    name = name.replace(f".modules_to_save.{adapter}.", ".").replace(f".{adapter}.", ".")
    return name.removesuffix(
        f".{adapter}"
    )  # of an embedding, whose updates are parameters, not layers


def read_weights(folder: Path, lora: LoraSettings) -> dict[str, torch.Tensor]:
    """Read the tensors of an adapter that training with the settings `lora` continues.

    Raises `UserError` for a file that cannot be read, and for another rank, scale or kind.
    """
    try:
        config = json.loads((folder / CONFIG).read_text())
        tensors: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"the adapter in {folder} cannot be read: {error}") from error
    if (config.get("r"), config.get("lora_alpha")) != (lora.rank, lora.alpha):
        raise UserError(
            f"the adapter in {folder} has rank {config.get('r')} and alpha "
            f"{config.get('lora_alpha')}; set lora.rank and lora.alpha to these to continue it"
        )
    shape = {"use_rslora": lora.rslora, "use_dora": lora.dora}
    other = next((key for key, value in shape.items() if bool(config.get(key)) != value), None)
    if other is not None or lora.init == "pissa":
        setting = "init" if other is None else other.removeprefix("use_")
        raise UserError(
            f"the adapter in {folder} cannot be continued with this lora.{setting}; change "
            f"lora.{setting}"
        )
    return tensors


def _whole(alpha: float) -> Any:
    """Return a whole number as an integer, as PEFT writes it."""
    return int(alpha) if alpha == int(alpha) else alpha


def _sort_targets(file: Path) -> None:
    """Sort the target modules: PEFT keeps them in a set, whose order varies between processes."""
    values = json.loads(file.read_text())
    if isinstance(values.get("target_modules"), list):
        values["target_modules"].sort()
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def _layers(base: Any, targets: str | list[str], new: Sequence[str]) -> dict[str, int]:
    """Return the layers that get an adapter, and the smaller of each one's two dimensions."""
    head = base.get_output_embeddings()
    return {
        name: min(module.in_features, module.out_features)
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear)
        and _targeted(name, module is head, targets)
        and name not in new
        and name.split(".")[0] not in _HEADS
    }


def _check_ranks(layers: dict[str, int], lora: LoraSettings) -> None:
    """Raise `UserError` for a rank above a layer's dimensions, and for a pattern that matches no
    layer, which PEFT would ignore."""
    if not layers:
        return  # PEFT raises an error
    for setting in ("rank_pattern", "alpha_pattern"):
        keys = list(getattr(lora, setting))
        unused = set(keys) - {get_pattern_key(keys, name) for name in layers}
        if unused:
            ends = ", ".join(sorted({name.rpartition(".")[2] for name in layers}))
            raise UserError(
                f"lora.{setting}: {sorted(unused)[0]!r} matches no layer that gets an adapter; "
                f"the names of these layers end in: {ends}"
            )
    patterns = lora.rank_pattern
    for name, size in sorted(layers.items(), key=lambda layer: layer[1]):
        key = get_pattern_key(list(patterns), name)
        rank = patterns.get(key, lora.rank)
        if rank > size:
            setting = f"lora.rank_pattern {key!r}" if key in patterns else "lora.rank"
            raise UserError(
                f"{setting} = {rank} is larger than the layer {name}, which has only {size} "
                f"dimensions; use {size} or less"
            )


def _targeted(name: str, is_head: bool, targets: str | list[str]) -> bool:
    if isinstance(targets, str):
        return targets == "all-linear" and not is_head
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text.split(". ")[0].rstrip(".")
