"""Attaching LoRA to a base, and saving an adapter in PEFT's own format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import LoraLayer
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import LoraSettings

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"


def attach(base: Any, lora: LoraSettings) -> Any:
    """`base` wrapped by PEFT with fresh LoRA weights in fp32; only those are trainable.

    Uses torch's global random state. Raises `UserError` for targets that the base lacks and
    for a rank that is no lower than the layers it is to stand in for.
    """
    targets = lora.target_modules
    config = LoraConfig(
        r=lora.rank,
        lora_alpha=int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,  # type: ignore[arg-type]
        lora_dropout=lora.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    limit, where = _smallest_layer(base, targets)
    if limit is not None and lora.rank > limit:
        raise UserError(
            f"lora.rank = {lora.rank} is larger than the layer {where}, which has only {limit} "
            f"dimensions; use {limit} or less"
        )
    try:
        return get_peft_model(base, config)
    except ValueError as error:
        raise UserError(f"lora.target_modules = {targets!r}: {_first_sentence(error)}") from error


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Name -> parameter of everything that is trained, in a fixed order."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def count_lora_layers(model: nn.Module) -> int:
    """How many layers carry an adapter."""
    return sum(isinstance(module, LoraLayer) for module in model.modules())


def save_adapter(model: Any, folder: Path, base_reference: str) -> None:
    """Writes `adapter_model.safetensors` and `adapter_config.json` into `folder`."""
    state = get_peft_model_state_dict(model)
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = model.peft_config[model.active_adapter]
    before = config.inference_mode, config.base_model_name_or_path
    config.inference_mode, config.base_model_name_or_path = True, base_reference
    try:
        config.save_pretrained(str(folder))
    finally:
        config.inference_mode, config.base_model_name_or_path = before
    _sort_targets(folder / CONFIG)


def load_weights(model: Any, tensors: dict[str, torch.Tensor]) -> None:
    """Puts an adapter's saved tensors into the attached adapter, every name and shape checked.

    Raises `UserError` where the two do not match exactly.
    """
    adapter = model.active_adapter
    own = {
        name.replace(f".{adapter}.", "."): parameter
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    if own.keys() != tensors.keys():
        odd = sorted(own.keys() ^ tensors.keys())[0]
        raise UserError(f"the saved adapter does not fit this base and job: {odd} is in one only")
    with torch.no_grad():
        for name, parameter in own.items():
            if parameter.shape != tensors[name].shape:
                raise UserError(
                    f"the saved adapter does not fit: {name} is {list(tensors[name].shape)}, "
                    f"{list(parameter.shape)} is needed"
                )
            parameter.copy_(tensors[name])


def read_weights(folder: Path, lora: LoraSettings) -> dict[str, torch.Tensor]:
    """An adapter's tensors, to continue it with `lora`'s shape.

    Raises `UserError` where it is no whole LoRA of the same rank and scale.
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
    return tensors


def _sort_targets(file: Path) -> None:
    """PEFT keeps targets in a set, whose order changes from process to process."""
    values = json.loads(file.read_text())
    if isinstance(values.get("target_modules"), list):
        values["target_modules"].sort()
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def _smallest_layer(base: Any, targets: str | list[str]) -> tuple[int | None, str]:
    """The smallest dimension among the layers that will carry an adapter, and that layer."""
    head = base.get_output_embeddings()
    smallest: int | None = None
    where = ""
    for name, module in base.named_modules():
        if not isinstance(module, nn.Linear) or not _targeted(name, module is head, targets):
            continue
        size = min(module.in_features, module.out_features)
        if smallest is None or size < smallest:
            smallest, where = size, name
    return smallest, where


def _targeted(name: str, is_head: bool, targets: str | list[str]) -> bool:
    if isinstance(targets, str):
        return targets == "all-linear" and not is_head
    return any(name == target or name.endswith(f".{target}") for target in targets)


def _first_sentence(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return text.split(". ")[0].rstrip(".")
