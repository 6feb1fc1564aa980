"""Proposed adapter names, and the checks of typed names and weights. No I/O."""

from __future__ import annotations

import math
import re

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.adapters.adapter_store import check_name
from tui_trainer.text.formats import clean


def adapter_name(name: str) -> str:
    """An adapter name made from a run's name."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_") or "adapter"


def name_problem(name: str) -> str | None:
    """What is wrong with an adapter's name, or None."""
    try:
        check_name(name)
    except UserError as error:
        return str(error)
    return None


def weights_problem(text: str) -> str | None:
    """What is wrong with `NAME=WEIGHT ...`, or None."""
    parts = text.split()
    for part in parts:
        name, _, weight = part.partition("=")
        try:
            value = float(weight)
        except ValueError:
            return f"{clean(part)}: write NAME=WEIGHT, such as capitals=0.5"
        if not name or value == 0 or not math.isfinite(value):
            return f"{clean(part)}: the weight must be a number other than 0"
    return None if parts else "enter the adapters, such as a=0.7 b=0.3"
