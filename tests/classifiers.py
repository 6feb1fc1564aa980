"""A small classifier for tests: a random adapter and head, saved as the engine saves them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

LABELS = ("cat", "dog", "9")


def save_classifier(base: Path, folder: Path, labels: Sequence[str] = LABELS) -> Path:
    """A classifier's adapter in `folder`, a new one, always the same for a base."""
    import torch

    from tui_trainer.contracts.job import LoraSettings
    from tui_trainer.models import base_model, lora_train
    from tui_trainer.store.adapters import adapter_files

    torch.manual_seed(5)
    loaded = base_model.load_base(str(base), torch.device("cpu"), torch.float32, labels=labels)
    tokenizer = base_model.load_tokenizer(str(base))
    loaded.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    model = lora_train.attach(loaded, LoraSettings(rank=4, alpha=8, target_modules="all-linear"))
    with torch.no_grad():
        for parameter in lora_train.trainable(model).values():
            parameter.normal_(std=0.3)
    folder.mkdir(parents=True)
    lora_train.save_adapter(model, folder, str(base))
    adapter_files.write_labels(folder, labels)
    return folder
