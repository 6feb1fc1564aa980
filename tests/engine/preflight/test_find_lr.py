"""The learning-rate finder: its proposals for curves of known shape, and for a real job."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tui_trainer.cli.find_lr import curve
from tui_trainer.engine.preflight import find_lr
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats

RATES = np.geomspace(find_lr.LOWEST, find_lr.HIGHEST, find_lr.STEPS).tolist()


def fall(rate: float, middle: float = 1e-3, blow: float = 0.1) -> float:
    """4 at small rates, falling to 2 around `middle`, rising from `blow` on."""
    down = 2 / (1 + (rate / middle) ** 2)
    return 2 + down + 3 * max(0.0, math.log10(rate / blow))


@pytest.mark.parametrize("middle", [3e-4, 1e-3, 3e-3])
@pytest.mark.parametrize("noise", [0.0, 0.25])
def test_the_steepest_descent_is_found_under_noise(middle: float, noise: float) -> None:
    chance = random.Random(2)
    losses = [fall(rate, middle) + chance.gauss(0, noise) for rate in RATES]
    found = find_lr.judge(RATES, losses)
    assert found.steepest is not None and found.proposed is not None and found.lowest is not None
    assert abs(math.log10(found.steepest / middle)) < 0.4
    assert found.proposed <= min(found.steepest, found.lowest / 10) * 1.05


def test_no_rate_is_proposed_for_a_curve_that_never_falls() -> None:
    chance = random.Random(3)
    found = find_lr.judge(RATES, [4 + chance.gauss(0, 0.02) for _ in RATES])
    assert found.proposed is None and "falls at no learning rate" in found.reason
    short = find_lr.judge(RATES[:4], [4.0, 4.0, 9.0, math.nan])
    assert short.proposed is None and short.diverged == RATES[3]


def test_the_sweep_ends_where_the_loss_diverges() -> None:
    assert not find_lr.has_diverged([4.0] * 20)
    assert find_lr.has_diverged([4.0] * 20 + [7.0] * 3)
    assert find_lr.has_diverged([4.0, math.inf])


def test_the_curve_as_text() -> None:
    found = find_lr.judge(RATES, [fall(rate) for rate in RATES])
    assert found.proposed is not None
    title, *rows, axis, labels = curve(found).splitlines()
    assert title == f"smoothed loss by learning rate  │ {formats.rate(found.proposed)}"
    assert len(rows) == 12
    assert rows[0].split("│")[0].strip() in ("", "4", "5")
    assert labels.endswith("rate log")
    left = axis.index("└") + 1
    column = round((math.log10(found.proposed) + 6) / 6 * (len(axis) - left - 1))
    assert all(row[left + column] == "│" for row in rows[:3]), "it marks the proposed rate"


@pytest.mark.slow
def test_a_real_job_gets_a_rate_that_its_run_learns_at(
    make_run: Callable[..., RunFolder],
    run_engine: Callable[..., int],
    metrics: Callable[..., dict[tuple[str, int], dict[str, Any]]],
    tmp_path: Path,
) -> None:
    info = make_run().info()
    assert info is not None
    before = set(tmp_path.rglob("*"))
    found = find_lr.find_rate(info.job)
    assert set(tmp_path.rglob("*")) == before  # nothing is left
    assert found.proposed is not None
    assert 1e-4 < found.proposed < 1e-1
    tried = make_run(training={"learning_rate": found.proposed, "max_steps": 30, "warmup_steps": 0})
    assert run_engine(tried) == 0
    rows = metrics(tried)
    assert rows["eval", 30]["val_loss"] < rows["eval", 4]["val_loss"] - 0.02
