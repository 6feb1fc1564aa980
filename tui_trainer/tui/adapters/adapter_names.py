"""Proposed adapter names, and the check of a typed one. No I/O."""

from __future__ import annotations

import re

from tui_trainer.contracts.errors import UserError
from tui_trainer.store.adapters.adapter_store import check_name


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
