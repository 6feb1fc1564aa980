"""Untying of weights that several layers share, such as those of embedding and output layer."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from tui_trainer.contracts.errors import UserError

_SETTING = "tie_word_embeddings"


def untie(model: Any, layers: Collection[str]) -> None:
    """Give every layer its own weights where one of `layers` (full names) shares some.

    Merging an adapter of one layer into a shared weight would change the other layers too. The
    configuration is set to untied as well, since otherwise loading the saved model would tie the
    weights again. Raises `UserError` for weights that no setting of the configuration can untie.
    """
    shared = _shared(model)
    weights = [f"{layer}.weight" for layer in layers if f"{layer}.weight" in shared]
    if not weights:
        return
    ties = model.all_tied_weights_keys
    tied = {*ties, *ties.values()}
    configs = [model.config, model.config.get_text_config()]
    first = next((weight for weight in weights if weight not in tied), None)
    if first is not None or not any(getattr(config, _SETTING, False) for config in configs):
        first = first or weights[0]
        raise UserError(
            f"{first} is the same as {shared[first]}, and the base has no setting to untie them: "
            "an adapter of one would change both; remove it from lora.target_modules"
        )
    for config in configs:
        if getattr(config, _SETTING, False):
            setattr(config, _SETTING, False)
    for name in ties:
        path, _, attribute = name.rpartition(".")
        module = model.get_submodule(path)
        value = getattr(module, attribute).detach().clone()
        is_parameter = attribute in module._parameters
        setattr(
            module, attribute, nn.Parameter(value, requires_grad=False) if is_parameter else value
        )
    model.all_tied_weights_keys = {}


def _shared(model: nn.Module) -> dict[str, str]:
    """Return for each shared parameter, by full name, the full name of another layer's."""
    names_of: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names_of.setdefault(id(parameter), []).append(name)
    return {
        name: next(other for other in names if other != name)
        for names in names_of.values()
        if len(names) > 1
        for name in names
    }
