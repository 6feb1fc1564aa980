"""An adapter's own facts, beside what PEFT stores (which keeps neither base hash nor measures)."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.job import LoraSettings

SCHEMA = 1


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (0..1) of questions answered exactly as taught or as before, or None where there
    were none to ask: `recalled` of the corrections, `kept` of golden and earlier answers."""

    recalled: float | None = None
    kept: float | None = None
    recalled_count: int = 0
    kept_count: int = 0


class AdapterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`adapter.json`, written last into an adapter's folder: without it there is no adapter.

    `examples` are the ids of the feedback that it learned (its own, not its parents'); `before`
    and `after` measure the model that was live before the training and this one; `files` maps
    each file's name to its SHA-256.
    """

    schema: int = SCHEMA
    name: str
    created_at: float
    base_model: str
    base_hash: str | None
    data_hash: str | None = None
    run_id: str | None = None
    parent: str | None = None
    lora: LoraSettings = msgspec.field(default_factory=LoraSettings)
    steps: int | None = None
    train_loss: float | None = None
    val_loss: float | None = None
    examples: list[str] = msgspec.field(default_factory=list)
    before: Measures = msgspec.field(default_factory=Measures)
    after: Measures = msgspec.field(default_factory=Measures)
    files: dict[str, str] = msgspec.field(default_factory=dict)
