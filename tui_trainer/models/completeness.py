"""Checks that a loaded base has every parameter of its architecture."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.text.formats import count, plural

# Attributes of a loaded model: the names of parts that are missing from its files and start with
# random values, and of tensors in its files that it does not use.
NEW_PARTS = "_tui_trainer_new_parts"
_UNUSED = "_tui_trainer_unused"

# Buffers that a model computes from its configuration; files of older versions contain them.
_DERIVED = re.compile(r"(^|\.)(\w*inv_freq|position_ids|token_type_ids|masked_bias)$")
# Parts of an encoder for classification: masked language models do not have them.
_POOLER = re.compile(r"(^|\.)(pooler|sequence_summary)\.")
# Heads of classifiers whose class does not name its encoder.
_HEADS = re.compile(r"^(score|classifier|pre_classifier|classification_head|head|pooler)\.")
_NAMED = 3  # names in a message


def check_loaded(
    model: Any,
    source: str,
    loading_info: dict[str, Any],
    not_finite: Iterable[str],
    *,
    classifies: bool,
) -> list[str]:
    """Return the parts of a classifier that are missing from its files, which start at random.

    source: the folder or id of the base, for messages.
    loading_info: of transformers, in which tied weights do not count as missing.
    not_finite: names of the tensors in its files that contain NaN or infinity.
    classifies: whether the model is loaded as a classifier.

    Raises `UserError` for other parameters that are missing (transformers fills them with random
    values), of another shape or not finite, by name.
    """
    missing = {key for key in loading_info["missing_keys"] if not _DERIVED.search(key)}
    shapes = {key: (theirs, ours) for key, theirs, ours in loading_info["mismatched_keys"]}
    shapes |= _quantised_shapes(model)
    new: set[str] = set()
    if classifies:
        new = {key for key in missing if _is_head(model, key) or _POOLER.search(key)}
        new |= {key for key in shapes if _is_head(model, key)}
    unexpected = loading_info["unexpected_keys"]
    unused = sorted(key for key in unexpected if not classifies or _is_encoder(model, key))
    infinite = sorted(_used(model, not_finite, unexpected) - new)
    other_shape = sorted(shapes.keys() - new)
    faults = []
    if missing - new:
        absent = sorted(missing - new)
        faults.append(
            f"{_parameters(absent, 'is', 'are')} missing from its files ({named(absent)})"
        )
    if other_shape:
        theirs, ours = shapes[other_shape[0]]
        faults.append(
            f"{_parameters(other_shape, 'has', 'have')} another shape than its config.json "
            f"describes ({named(other_shape)}; the first is {list(theirs)}, not {list(ours)})"
        )
    if infinite:
        faults.append(
            f"{_parameters(infinite, 'contains', 'contain')} NaN or infinity ({named(infinite)})"
        )
    if faults:
        location = f"in {source}" if Path(source).is_dir() else source
        raise UserError(
            f"the model {location} cannot be used: {', '.join(faults)}; copy or download it again"
        )
    setattr(model, _UNUSED, unused)
    return sorted({key.rpartition(".")[0] for key in new})


def notices(model: Any) -> list[str]:
    """Return sentences for the user about a base that `check_loaded` has accepted."""
    unused: list[str] = getattr(model, _UNUSED, [])
    if not unused:
        return []
    return [f"the base does not use {plural(len(unused), 'tensor')} in its files: {named(unused)}"]


def named(names: Sequence[str]) -> str:
    """Return the first names, and the number of the others."""
    first = ", ".join(names[:_NAMED])
    return first if len(names) <= _NAMED else f"{first} and {count(len(names) - _NAMED)} more"


def _quantised_shapes(model: Any) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
    """Return the quantised weights that have another shape than their layer, which transformers
    does not check: their own shape, and the layer's."""
    found: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
    for name, layer in model.named_modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:
            shapes = tuple(state.shape), (layer.out_features, layer.in_features)
            if shapes[0] != shapes[1]:
                found[f"{name}.weight"] = shapes
    return found


def _parameters(names: Sequence[str], one: str, many: str) -> str:
    return f"{plural(len(names), 'parameter')} {one if len(names) == 1 else many}"


def _is_encoder(model: Any, key: str) -> bool:
    """Return whether a parameter belongs to the part of the model below its head."""
    prefix: str = model.base_model_prefix
    if not prefix or not hasattr(model, prefix):
        return not _HEADS.search(key)
    return key.startswith(f"{prefix}.")


def _is_head(model: Any, key: str) -> bool:
    return not _is_encoder(model, key)


def _used(model: Any, tensors: Iterable[str], unexpected: set[str]) -> set[str]:
    """Return the `tensors` of the files that a parameter of the model is loaded from: all but the
    `unexpected` ones and those that the model's class ignores."""
    tensors = set(tensors)
    if not tensors:
        return set()
    own = set(model.state_dict())
    prefix = f"{model.base_model_prefix}."
    patterns = [*(model._keys_to_ignore_on_load_unexpected or ()), _DERIVED.pattern]
    ignored = re.compile("|".join(f"({pattern})" for pattern in patterns))
    return {
        key
        for key in tensors
        if own & {key, prefix + key, key.removeprefix(prefix)}
        or not ({key, prefix + key} & unexpected or ignored.search(key))
    }
