"""The optimizer, and its state as plain tensors."""

from __future__ import annotations

import torch
from torch import nn

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import TrainingSettings


def build_optimizer(
    parameters: dict[str, nn.Parameter], settings: TrainingSettings
) -> torch.optim.AdamW:
    """AdamW over `parameters`; its learning rate is set before every step."""
    return torch.optim.AdamW(
        list(parameters.values()),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Sets the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def state_tensors(
    optimizer: torch.optim.Optimizer, parameters: dict[str, nn.Parameter]
) -> dict[str, torch.Tensor]:
    """The optimizer's state as `{parameter}/{key}` -> tensor, on the CPU."""
    found = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}/{key}"] = torch.as_tensor(value).detach().cpu().clone()
    return found


def load_state_tensors(
    optimizer: torch.optim.Optimizer,
    parameters: dict[str, nn.Parameter],
    tensors: dict[str, torch.Tensor],
) -> None:
    """The inverse of `state_tensors`. Raises `UserError` for another model's state."""
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition("/")
        if name not in parameters:
            raise UserError(f"the saved optimizer does not fit this job: {name} is unknown")
        parameter = parameters[name]
        # AdamW keeps its step counter on the CPU, everything else beside the parameter.
        value = tensor.clone() if tensor.dim() == 0 else tensor.to(parameter.device).clone()
        optimizer.state[parameter][key] = value
