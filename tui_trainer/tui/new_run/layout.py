"""Which fields the new-run form has, in what order, and when each has an effect."""

from __future__ import annotations

from collections.abc import Mapping

Section = tuple[str, tuple[str, ...]]

# Settings of every run.
EVERYDAY: tuple[Section, ...] = (
    ("run", ("name", "model", "task")),
    (
        "data",
        ("data.train", "data.validation", "data.val_split", "data.max_length", "data.balance"),
    ),
    ("adapter", ("lora.rank", "lora.alpha", "lora.dropout")),
    (
        "training",
        (
            "training.max_steps",
            "training.epochs",
            "training.batch_size",
            "training.learning_rate",
            "training.scheduler",
            "training.scheduler_cycles",
            "training.scheduler_power",
            "training.decay_share",
            "training.warmup_steps",
            "training.eval_every",
            "training.checkpoint_every",
            "training.seed",
        ),
    ),
)
# Settings with a good default, folded at first.
MORE: tuple[Section, ...] = (
    (
        "optimizer",
        (
            "training.optimizer",
            "training.momentum",
            "training.nesterov",
            "training.weight_decay",
            "training.max_gradient_norm",
        ),
    ),
    (
        "memory and speed",
        (
            "training.gradient_accumulation_steps",
            "training.precision",
            "quantization",
            "training.gradient_checkpointing",
            "training.processes",
            "training.sharding",
            "data.workers",
        ),
    ),
    (
        "best and early stopping",
        (
            "training.best_metric",
            "training.save",
            "training.early_stopping_patience",
            "training.early_stopping_min_delta",
            "training.stop_when_learned",
        ),
    ),
    (
        "adapter variants",
        (
            "lora.target_modules",
            "lora.rank_pattern",
            "lora.alpha_pattern",
            "lora.init",
            "lora.rslora",
            "lora.dora",
            "lora.start_from",
        ),
    ),
    (
        "training rows",
        (
            "data.learn",
            "data.columns",
            "data.allow_dropped",
            "data.duplicates",
            "data.replay",
            "data.replay_per_step",
            "data.retain",
            "data.retain_per_step",
            "data.retain_weight",
            "data.null_space",
            "data.null_space_share",
            "data.augment",
            "data.augment_model",
            "data.augment_language",
        ),
    ),
    ("sample prompts", ("samples.prompts", "samples.max_new_tokens")),
    ("files", ("data.test", "training.keep_checkpoints", "data.cache", "trust_remote_code")),
)
SECTIONS = (*EVERYDAY, *MORE)
FOLDED = frozenset(key for _title, keys in MORE for key in keys)

LABELS = {
    "data.train": "train file",
    "data.validation": "validation",
    "data.val_split": "validation split",
    "data.test": "test file",
    "data.replay": "replay file",
    "data.retain": "retained answers",
    "data.null_space": "answers not read",
    "data.null_space_share": "share not read",
    "training.stop_when_learned": "stop when learned",
    "data.workers": "data workers",
    "training.gradient_accumulation_steps": "grad accumulation",
    "training.gradient_checkpointing": "grad checkpointing",
    "training.early_stopping_patience": "patience",
    "training.early_stopping_min_delta": "minimum change",
    "training.save": "saved step",
    "samples.max_new_tokens": "answer tokens",
    "lora.init": "initial values",
    "lora.rslora": "rsLoRA",
    "lora.dora": "DoRA",
}

# A field has an effect only while the other one holds one of these values ...
_ONLY_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "data.balance": ("task", ("classification",)),
    "data.learn": ("task", ("causal-lm",)),
    "samples.prompts": ("task", ("causal-lm",)),
    "training.scheduler_cycles": ("training.scheduler", ("cosine-restarts",)),
    "training.scheduler_power": ("training.scheduler", ("polynomial",)),
    "training.decay_share": ("training.scheduler", ("wsd",)),
    "training.momentum": ("training.optimizer", ("sgd", "rmsprop")),
    "training.nesterov": ("training.optimizer", ("sgd",)),
    "data.augment_language": ("data.augment", ("back-translation",)),
}
# ... or none of these.
_NOT_WITH: dict[str, tuple[str, tuple[str, ...]]] = {
    "training.early_stopping_min_delta": ("training.early_stopping_patience", ("0",)),
    "training.sharding": ("training.processes", ("1",)),
    "data.replay_per_step": ("data.replay", ("",)),
    "data.retain_per_step": ("data.retain", ("",)),
    "data.retain_weight": ("data.retain", ("",)),
    "data.null_space_share": ("data.null_space", ("",)),
    "data.augment_model": ("data.augment", ("none",)),
    "samples.max_new_tokens": ("samples.prompts", ("",)),
}


def has_effect(key: str, values: Mapping[str, str]) -> bool:
    """Whether a field has an effect with the other fields' `values`; one without is hidden and
    left out of the job."""
    if key in _ONLY_WITH:
        other, wanted = _ONLY_WITH[key]
        return values.get(other, "") in wanted
    if key in _NOT_WITH:
        other, unwanted = _NOT_WITH[key]
        return values.get(other, "") not in unwanted
    return True
