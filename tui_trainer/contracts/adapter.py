"""An adapter's own facts, beside what PEFT stores (which keeps neither base hash nor measures)."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.job import LoraSettings

SCHEMA = 1


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """Shares (0..1) of questions answered exactly as taught or as before, or None where there
    were none to ask: `recalled` of the corrections, `kept` of golden and earlier answers."""

    recalled: float | None = None  # share (0..1) of the corrections
    kept: float | None = None  # share (0..1) of golden and earlier answers
    recalled_count: int = 0  # corrections asked
    kept_count: int = 0  # golden and earlier questions asked
    # Mean KL divergence (nats a token) from the base's predictions in answers of the base that were
    # not trained on; None where it was not measured.
    divergence: float | None = None


class AdapterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`adapter.json`, written last into an adapter's folder: without it there is no adapter.

    `examples` are the ids of the feedback that it learned (its own, not its parents'); `before`
    and `after` measure the model that was live before the training and this one; `files` maps
    each file's name to its SHA-256.
    """

    schema: int = SCHEMA  # version of the file's format
    name: str  # the folder's name
    created_at: float  # seconds since the epoch
    base_model: str  # base it is for: "builtin" or a folder
    base_hash: str | None  # SHA-256 of the base's files
    data_hash: str | None = None  # SHA-256 of the training data
    run_id: str | None = None  # run that made it
    parent: str | None = None  # adapter whose training it continues
    lora: LoraSettings = msgspec.field(default_factory=LoraSettings)  # settings of its layers
    steps: int | None = None  # optimizer steps it was trained for
    train_loss: float | None = None  # of the last step, nats
    val_loss: float | None = None  # of the last evaluation, nats
    # Ids of the feedback it was trained on.
    examples: list[str] = msgspec.field(default_factory=list)
    # Of the model that was active before.
    before: Measures = msgspec.field(default_factory=Measures)
    after: Measures = msgspec.field(default_factory=Measures)  # of this adapter
    files: dict[str, str] = msgspec.field(default_factory=dict)  # SHA-256 by file name
