"""The rules as first written for this kind of advisor, taken literally, to compare with.

Every 50 steps, over the last 50: spread (standard deviation) of the loss over a tenth of its
mean: oscillation; its slope under 0.001 a step: plateau (from the first row to the last, which
raises fewer alarms on healthy runs than least squares does); mean gradient norm
over 10 times its baseline: explosion, under 0.01 times: vanishing; spread of the gradient norm
over half its mean: instability. The baseline is the mean of the first window. Each is an advice
to change the learning rate, so each counts as above low.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

WINDOW = 50
Column = NDArray[np.float64]


def alarms(losses: Column, norms: Column, every: int = WINDOW) -> list[tuple[int, str]]:
    """(index of the row that ends the window, kind) of every alarm; a value that is no number
    is left out of its window, as a mean over it would be of no use."""
    found = []
    first = norms[:WINDOW][np.isfinite(norms[:WINDOW])]
    baseline = float(first.mean()) if len(first) else float("nan")
    for end in range(WINDOW, len(losses), every):
        kinds = _loss_kinds(losses[end - WINDOW : end])
        kinds += _norm_kinds(norms[end - WINDOW : end], baseline)
        found += [(end - 1, kind) for kind in kinds]
    return found


def _loss_kinds(window: Column) -> list[str]:
    window = window[np.isfinite(window)]
    if len(window) < 2:
        return []
    kinds = []
    if window.std() > 0.1 * abs(window.mean()):
        kinds.append("oscillation")
    if abs(float(window[-1] - window[0])) / (len(window) - 1) < 0.001:
        kinds.append("plateau")
    return kinds


def _norm_kinds(window: Column, baseline: float) -> list[str]:
    window = window[np.isfinite(window)]
    if not len(window):
        return []
    kinds = []
    if window.mean() > 10 * baseline:
        kinds.append("gradient_explosion")
    if window.mean() < 0.01 * baseline:
        kinds.append("gradient_vanishing")
    if window.std() > 0.5 * window.mean():
        kinds.append("instability")
    return kinds
