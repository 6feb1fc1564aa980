"""What other people call their metrics."""

from __future__ import annotations

# The first present name of a row wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "step": (
        "step", "global_step", "_step", "train/global_step", "trainer/global_step",
        "train_step", "iteration", "iter",
    ),
    "epoch": ("epoch", "train/epoch"),
    "time": ("time", "timestamp", "_timestamp", "wall_time"),
    "loss": ("loss", "train_loss", "train/loss", "training_loss", "loss/train"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "train/lr"),
    "gradient_norm": (
        "gradient_norm", "grad_norm", "train/grad_norm", "train/gradient_norm",
        "gnorm",
    ),
    "val_loss": (
        "val_loss", "eval_loss", "eval/loss", "val/loss", "valid_loss", "validation_loss",
        "validation/loss", "loss/val",
    ),
    "val_accuracy": (
        "val_accuracy", "eval_accuracy", "eval/accuracy", "val_acc", "val/accuracy", "val/acc",
        "validation_accuracy",
    ),
}  # fmt: skip

CANONICAL: dict[str, str] = {alias: name for name, aliases in ALIASES.items() for alias in aliases}

# Columns that say where a row stands rather than what was measured.
PLACES = frozenset({"step", "epoch", "time"})
_EVAL_PREFIXES = (
    "eval_",
    "eval/",
    "val_",
    "val/",
    "valid_",
    "valid/",
    "validation_",
    "validation/",
)


def is_eval(name: str) -> bool:
    """Whether a canonical or foreign name is one of an evaluation's."""
    return name.startswith(_EVAL_PREFIXES)
