"""Telling a field that a row lacks from one that was measured and is not finite."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tui_trainer.watch.snapshots import Column


def is_missing(values: Column) -> NDArray[np.bool_]:
    """Where a row had no such field at all."""
    return np.asarray(np.isnan(values) & np.signbit(values))
