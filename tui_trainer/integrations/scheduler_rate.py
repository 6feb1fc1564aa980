"""Changing the learning rate of a running optimizer while its schedule keeps its shape."""

from __future__ import annotations

from typing import Any

# Peaks and floors that torch's schedulers keep in the parameter groups.
_LIMITS = ("initial_lr", "max_lr", "min_lr")


def set_rate(optimizer: Any, scheduler: Any, rate: float) -> None:
    """Scale every group's rate so that the first group's is `rate` at the next step, and the
    scheduler's base rates by the same factor, so that its later rates are scaled, too.

    Groups keep their proportions. If the current rate is 0 (before warmup), the peak is set.
    `optimizer` and `scheduler` are torch's, also as wrapped by accelerate; `scheduler` may be
    None. Raises `ValueError` if the optimizer has no parameter groups.
    """
    groups = getattr(optimizer, "param_groups", None)
    if not groups:
        raise ValueError("the optimizer has no parameter groups")
    schedulers = _unwrapped(scheduler)
    now = float(groups[0]["lr"])
    bases = [float(b) for s in schedulers for b in (getattr(s, "base_lrs", None) or ())[:1]]
    reference = now if now > 0 else next((base for base in bases if base > 0), 0.0)
    factor = rate / reference if reference > 0 else None
    for group in groups:
        for name in ("lr", *_LIMITS):
            if name in group:
                _scale(group, name, factor, rate)
    for one in schedulers:
        if getattr(one, "base_lrs", None):
            one.base_lrs = [rate if factor is None else base * factor for base in one.base_lrs]
        if hasattr(one, "_last_lr"):
            one._last_lr = [group["lr"] for group in groups]


def _scale(group: dict[str, Any], name: str, factor: float | None, rate: float) -> None:
    value = rate if factor is None else float(group[name]) * factor
    if hasattr(group[name], "fill_"):  # a rate kept as a tensor, for a captured graph
        group[name].fill_(value)
    else:
        group[name] = value


def _unwrapped(scheduler: Any) -> list[Any]:
    """The schedulers inside accelerate's wrapper and inside chained schedulers."""
    if scheduler is None:
        return []
    inner = getattr(scheduler, "scheduler", None)
    if inner is not None:
        return _unwrapped(inner)
    chained = getattr(scheduler, "_schedulers", None) or ()
    return [scheduler, *(found for one in chained for found in _unwrapped(one))]
