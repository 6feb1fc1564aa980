"""Canonical names of metrics, and the names that other tools use for them."""

from __future__ import annotations

# Canonical name to aliases; the first one present in a row counts.
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

# Further names, used by single tools only. They are not used for JSON lines, where two aliases in
# one row become one column.
_TOOL_NAMES = {
    "train_loss_step": "loss",
    "train/loss_step": "loss",
    "loss_step": "loss",
    "epoch_loss": "loss",
    "epoch_learning_rate": "learning_rate",
    "val_loss_epoch": "val_loss",
    "valid/loss": "val_loss",
    "loss/eval": "val_loss",
    "loss/valid": "val_loss",
    "loss/validation": "val_loss",
    "accuracy/val": "val_accuracy",
    "accuracy/validation": "val_accuracy",
}

# Columns that locate a row rather than hold a measured value.
INDEX_COLUMNS = frozenset({"step", "epoch", "time"})
_EVAL_PREFIXES = (
    "eval_",
    "eval/",
    "val_",
    "val/",
    "valid_",
    "valid/",
    "validation_",
    "validation/",
    "test_",
    "test/",
    "predict_",
)
_EVAL_SUFFIXES = ("/val", "/valid", "/validation", "/eval", "/test")
_RANKS = {alias: rank for group in ALIASES.values() for rank, alias in enumerate(group)}


def is_eval(name: str) -> bool:
    """Whether a name, canonical or not, is that of an evaluation metric."""
    return name.startswith(_EVAL_PREFIXES) or name.lower().endswith(_EVAL_SUFFIXES)


def canonical(name: str) -> str:
    """The canonical name of a metric, regardless of case; the name itself if there is none.

    Lightning's `LearningRateMonitor` writes `lr-AdamW`, so `lr-` is recognised as a prefix.
    """
    lower = name.lower()
    known = CANONICAL.get(name) or CANONICAL.get(lower) or _TOOL_NAMES.get(lower)
    if known is None and name.startswith("lr-") and "/" not in name:
        return "learning_rate"
    return known or name


_MOST_NAMES = 4096


class MetricNames:
    """Maps the names of one run to canonical names. Each canonical name is given to one name only,
    so a run that records both `loss` and `train_loss` keeps both, one under its own name."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._owners: dict[str, str] = {}

    def __call__(self, name: str) -> str:
        """The name under which a metric is kept."""
        known = self._known.get(name)
        if known is None:
            if len(self._known) >= _MOST_NAMES:
                return name  # too many: the rows leave it out
            # File names and texts of databases need not be valid Unicode.
            known = canonical(name.encode("utf-8", "backslashreplace").decode())
            if self._owners.setdefault(known, name) != name:
                known = self._unique(name)
            self._known[name] = known
        return known

    def learn(self, names: list[str]) -> None:
        """Maps names that appear together, the most usual ones first."""
        for name in sorted(names[:_MOST_NAMES], key=lambda name: _RANKS.get(name, len(_RANKS))):
            self(name)

    def _unique(self, name: str) -> str:
        name = name.encode("utf-8", "backslashreplace").decode()
        while name in self._owners:
            name += "'"
        self._owners[name] = name
        return name
