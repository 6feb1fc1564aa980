"""Building the optimizer; its state as named tensors."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import TrainingSettings
from tui_trainer.store import job_checks


def build_optimizer(
    parameters: dict[str, nn.Parameter], settings: TrainingSettings
) -> torch.optim.Optimizer:
    """Return the job's optimizer over `parameters`; its learning rate is set before every step.

    Raises `UserError` for contradicting settings and for a package that is not installed.
    """
    refused = job_checks.optimizer_errors(settings)
    if refused:
        raise UserError(refused[0].message)
    name = settings.optimizer
    values = list(parameters.values())
    common: dict[str, Any] = {"lr": settings.learning_rate, "weight_decay": settings.weight_decay}
    fused = all(value.device.type in ("cpu", "cuda") for value in values)
    if name == "adamw":
        return torch.optim.AdamW(values, **common, fused=fused)
    if name == "adam":
        return torch.optim.Adam(values, **common, fused=fused)
    if name == "sgd":
        momentum: dict[str, Any] = {"momentum": settings.momentum, "nesterov": settings.nesterov}
        return torch.optim.SGD(values, **common, **momentum)
    if name == "rmsprop":
        return torch.optim.RMSprop(values, **common, momentum=settings.momentum)
    if name == "adafactor":
        return torch.optim.Adafactor(values, **common)
    return _eight_bit(values, common)


def _eight_bit(values: list[nn.Parameter], common: dict[str, Any]) -> torch.optim.Optimizer:
    """Return AdamW with moments in 8 bits (32 bits for small tensors)."""
    try:
        library: Any = importlib.import_module("bitsandbytes")
    except ImportError:
        raise UserError(
            'training.optimizer = "adamw-8bit" needs bitsandbytes: pip install bitsandbytes, '
            'or use "adamw"'
        ) from None
    optimizer: torch.optim.Optimizer = library.optim.AdamW8bit(values, **common)
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of every parameter group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    """Return copies of the optimizer's state on the CPU, by `{parameter}/{key}`, without keys that
    have no value yet (such as a momentum before the first step)."""
    found = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if value is not None:
                copy = torch.as_tensor(value).detach().to("cpu", copy=True)
                found[f"{name}/{key}"] = copy.contiguous()
    return found


def load_state_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, nn.Parameter],
    tensors: dict[str, torch.Tensor],
) -> None:
    """Load the result of `state_tensors`. Raises `UserError` for another model's state."""
    fused = bool(optimizer.defaults.get("fused"))
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        if name not in parameters:
            raise UserError(
                f"the saved optimizer state does not fit this job: parameter {name} is unknown; "
                "start a new run"
            )
        parameter = parameters[name]
        # Step counters (scalars) stay on the CPU, unless the fused kernel reads them.
        device = parameter.device if tensor.dim() > 0 or fused else torch.device("cpu")
        optimizer.state[parameter][key] = tensor.to(device).clone()
