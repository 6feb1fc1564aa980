"""Merging a classifier's adapter into its base, written as one model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from tui_trainer.models import lora_load, lora_merge
from tui_trainer.models.base_identity import BaseIdentity
from tui_trainer.models.classifier import load_classifier


def merge_classifier(
    origin: BaseIdentity,
    folder: Path,
    out: Path,
    on_stage: Callable[[str], None],
    labels: Sequence[str] = (),
) -> int:
    """Write base and adapter in fp32 into `out`, with the names of the classes in its
    configuration; return its size in bytes.

    The model loads with `AutoModelForSequenceClassification` of plain transformers and gives the
    same predictions. It is written to a temporary folder and renamed. `on_stage` gets what is done
    next, a few words. Raises `UserError`, also where `out` exists and is not empty.
    """
    lora_merge.check_target(out)
    lora_merge.check_not_quantised(origin)
    loading, merging, writing = lora_merge.STAGES
    on_stage(loading)
    classifier = load_classifier(folder, origin, labels, device=torch.device("cpu"))
    lora_merge.check_space(classifier.model, out)
    on_stage(merging)
    with lora_load.BUILDING:
        merged: Any = classifier.model.merge_and_unload(safe_merge=True)
    on_stage(writing)
    return lora_merge.publish(merged.float(), classifier.tokenizer, origin, out)
