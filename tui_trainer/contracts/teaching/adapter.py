"""Facts about an adapter that PEFT's own files do not store: base, origin and measurements."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.job import LoraSettings, Task

SCHEMA = 1


class Measures(msgspec.Struct, frozen=True, kw_only=True):
    """How many questions an adapter answers exactly as expected; a share is None if no question
    was asked."""

    recalled: float | None = None  # share (0..1) of the corrections answered as taught
    kept: float | None = None  # share (0..1) of the answers right before that still are
    recalled_count: int = 0  # corrections asked
    kept_count: int = 0  # golden, earlier and own questions asked
    # Of those of `kept`, the share of the base's own answers, which nobody has confirmed.
    own_kept: float | None = None
    own_count: int = 0  # of the base's own answers asked
    # Mean KL divergence (nats a token) from the base's predictions in answers of the base that were
    # not trained on; None where it was not measured.
    divergence: float | None = None

    @property
    def confirmed_kept(self) -> float | None:
        """The share of `kept` without the base's own answers: of golden and earlier ones."""
        count = self.kept_count - self.own_count
        if self.kept is None or not self.own_count:
            return self.kept
        if not count:
            return None
        own = round((self.own_kept or 0.0) * self.own_count)
        return (round(self.kept * self.kept_count) - own) / count


class AdapterInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`adapter.json`, written last: a folder without it is not an adapter."""

    schema: int = SCHEMA  # version of the file's format
    name: str  # the folder's name
    task: Task = "causal-lm"  # what it was trained for
    description: str = ""  # by the user, one line
    tags: list[str] = msgspec.field(default_factory=list)  # by the user, for filters
    created_at: float  # seconds since the epoch
    base_model: str  # the base it was trained on: "builtin" or a folder
    base_hash: str | None  # SHA-256 of the base's files
    data_hash: str | None = None  # SHA-256 of the training data
    run_id: str | None = None  # the run that trained it
    parent: str | None = None  # the adapter that its training continued
    lora: LoraSettings = msgspec.field(default_factory=LoraSettings)  # settings of its layers
    null_space: float = 0.0  # share of the input directions that it does not read
    steps: int | None = None  # optimizer steps it was trained for
    train_loss: float | None = None  # of the last step, nats
    val_loss: float | None = None  # of the evaluation at `steps`, nats
    # Metrics of the evaluation at `steps`, by name such as "val_accuracy".
    scores: dict[str, float] = msgspec.field(default_factory=dict)
    # Ids of the feedback it was trained on, without its parents'.
    examples: list[str] = msgspec.field(default_factory=list)
    # Measures of the adapters that were active before it.
    before: Measures = msgspec.field(default_factory=Measures)
    after: Measures = msgspec.field(default_factory=Measures)  # measures of this adapter
    files: dict[str, str] = msgspec.field(default_factory=dict)  # SHA-256 by file name
