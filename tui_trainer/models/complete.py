"""Whether a loaded base has every parameter that its architecture needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError

# Where a loaded model keeps the names of the parts that its files lack, which begin at random,
# and of the tensors in its files that it does not use.
NEW_PARTS = "_tui_trainer_new_parts"
_UNUSED = "_tui_trainer_unused"

# Buffers that a model calculates from its configuration: files of older versions have them, those
# of newer ones do not.
_DERIVED = re.compile(r"(^|\.)(\w*inv_freq|position_ids|token_type_ids|masked_bias)$")
# Parts of an encoder that classify: those trained on hidden words come without them.
_POOLER = re.compile(r"(^|\.)(pooler|sequence_summary)\.")
# Heads of a classifier whose class does not say where its encoder ends.
_HEADS = re.compile(r"^(score|classifier|pre_classifier|classification_head|head|pooler)\.")
_NAMED = 3


def check_loaded(
    model: Any,
    source: str,
    how: dict[str, Any],
    not_finite: Iterable[str],
    *,
    classifies: bool,
) -> list[str]:
    """The parts of a classifier that begin at random, as its files lack them.

    source: the folder or id that the user knows the base by.
    how: the loading information of transformers, which names no tied weight as missing.
    not_finite: names in its files of the tensors that hold NaN or infinity.

    Raises `UserError` for parameters that are missing, misshapen or not finite, by name: models
    are loaded with random values in their place.
    """
    missing = {key for key in how["missing_keys"] if not _DERIVED.search(key)}
    shapes = {key: (theirs, ours) for key, theirs, ours in how["mismatched_keys"]}
    shapes |= _quantised_shapes(model)
    new: set[str] = set()
    if classifies:
        new = {key for key in missing if _is_head(model, key) or _POOLER.search(key)}
        new |= {key for key in shapes if _is_head(model, key)}
    unused = sorted(key for key in how["unexpected_keys"] if not classifies or _inside(model, key))
    infinite = sorted(_used(model, not_finite, how["unexpected_keys"]) - new)
    misshapen = sorted(shapes.keys() - new)
    faults = []
    if missing - new:
        lacking = sorted(missing - new)
        faults.append(f"{_count(lacking, 'is', 'are')} missing from its files ({named(lacking)})")
    if misshapen:
        theirs, ours = shapes[misshapen[0]]
        faults.append(
            f"{_count(misshapen, 'has', 'have')} another shape than its config.json describes "
            f"({named(misshapen)}; the first is {list(theirs)}, not {list(ours)})"
        )
    if infinite:
        faults.append(f"{_count(infinite, 'holds', 'hold')} NaN or infinity ({named(infinite)})")
    if faults:
        place = f"in {source}" if Path(source).is_dir() else source
        raise UserError(
            f"the model {place} cannot be used: {', '.join(faults)}; copy or download it again"
        )
    setattr(model, _UNUSED, unused)
    return sorted({key.rpartition(".")[0] for key in new})


def notices(model: Any) -> list[str]:
    """Sentences for the user about a base that `check_loaded` has passed."""
    unused: list[str] = getattr(model, _UNUSED, [])
    if not unused:
        return []
    tensors = "1 tensor" if len(unused) == 1 else f"{len(unused):,} tensors"
    return [f"the base does not use {tensors} in its files: {named(unused)}"]


def named(names: Sequence[str]) -> str:
    """The first few of many names."""
    first = ", ".join(names[:_NAMED])
    return first if len(names) <= _NAMED else f"{first} and {len(names) - _NAMED:,} more"


def _quantised_shapes(model: Any) -> dict[str, tuple[Sequence[int], Sequence[int]]]:
    """Weights that were put into few bits in another shape than their layer's, which transformers
    does not compare: the shape they had, and the layer's."""
    found: dict[str, tuple[Sequence[int], Sequence[int]]] = {}
    for name, layer in model.named_modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None:
            shapes = tuple(state.shape), (layer.out_features, layer.in_features)
            if shapes[0] != shapes[1]:
                found[f"{name}.weight"] = shapes
    return found


def _count(names: Sequence[str], one: str, many: str) -> str:
    return f"1 parameter {one}" if len(names) == 1 else f"{len(names):,} parameters {many}"


def _inside(model: Any, key: str) -> bool:
    """Whether a parameter belongs to what every task has in common, below any head."""
    prefix: str = model.base_model_prefix
    if not prefix or not hasattr(model, prefix):
        return not _HEADS.search(key)
    return key.startswith(f"{prefix}.")


def _is_head(model: Any, key: str) -> bool:
    return not _inside(model, key)


def _used(model: Any, tensors: Iterable[str], unexpected: set[str]) -> set[str]:
    """Those tensors of the files that a parameter of the model is made of: all but those that
    loading found no use for, or that the model's class is known to pass over."""
    tensors = set(tensors)
    if not tensors:
        return set()
    own = set(model.state_dict())
    prefix = f"{model.base_model_prefix}."
    patterns = [*(model._keys_to_ignore_on_load_unexpected or ()), _DERIVED.pattern]
    passed_over = re.compile("|".join(f"({pattern})" for pattern in patterns))
    return {
        key
        for key in tensors
        if own & {key, prefix + key, key.removeprefix(prefix)}
        or not ({key, prefix + key} & unexpected or passed_over.search(key))
    }
