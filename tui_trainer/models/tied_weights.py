"""Weights that several layers share, such as embeddings and output layer, given to each alone."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from torch import nn

from tui_trainer.contracts.errors import UserError

_SWITCH = "tie_word_embeddings"


def untie(model: Any, layers: Collection[str]) -> None:
    """Gives every layer weights of its own where one of `layers` (full names) shares some.

    An adapter adds to the outputs of one layer; added into a shared weight it would change the
    other layers as well. The configuration then says that nothing is tied, or loading what is
    saved would tie it again. Raises `UserError` for a model whose weights are shared in a way
    that its configuration cannot undo.
    """
    shared = _shared(model)
    weights = [f"{layer}.weight" for layer in layers if f"{layer}.weight" in shared]
    if not weights:
        return
    ties = model.all_tied_weights_keys
    tied = {*ties, *ties.values()}
    configs = [model.config, model.config.get_text_config()]
    first = next((weight for weight in weights if weight not in tied), None)
    if first is not None or not any(getattr(config, _SWITCH, False) for config in configs):
        first = first or weights[0]
        raise UserError(
            f"{first} is the same as {shared[first]}, and the base has no setting to part them: an "
            "adapter of one of them would change both; leave it out of lora.target_modules"
        )
    for config in configs:
        if getattr(config, _SWITCH, False):
            setattr(config, _SWITCH, False)
    for name in ties:
        module, _, own = name.rpartition(".")
        part = model.get_submodule(module)
        value = getattr(part, own).detach().clone()
        is_parameter = own in part._parameters
        setattr(part, own, nn.Parameter(value, requires_grad=False) if is_parameter else value)
    model.all_tied_weights_keys = {}


def _shared(model: nn.Module) -> dict[str, str]:
    """Parameters by full name that stand in several places -> one of the others."""
    places: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        places.setdefault(id(parameter), []).append(name)
    return {
        name: next(other for other in names if other != name)
        for names in places.values()
        if len(names) > 1
        for name in names
    }
