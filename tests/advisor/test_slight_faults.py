"""Faults that hurt only a little, or whose signs are small, and what looks like them."""

from __future__ import annotations

import random

import pytest

from tests.advisor.stories import Row, advise, descent, first, run, urgent
from tui_trainer.contracts.advice import JobFacts


def kinds(rows: list[Row], facts: JobFacts | None = None) -> set[str]:
    return {advice.kind for advice in urgent(advise(rows, facts))}


@pytest.mark.parametrize("seed", range(5))
def test_a_sudden_rise_by_three_times_the_noise_is_a_divergence(seed: int) -> None:
    rows = run(300, seed=seed, loss=lambda s: 2.4 + 8 * 0.95**s + 0.7 * (s >= 200), noise=0.22)
    advice = first(urgent(advise(rows)), "divergence")
    assert 200 < advice.step <= 225


@pytest.mark.parametrize("seed", range(5))
def test_a_loss_that_has_always_wandered_so_far_does_not_diverge(seed: int) -> None:
    draw, wander, level = random.Random(seed), [], 0.0
    for _ in range(600):
        level = 0.9 * level + draw.gauss(0, 0.02)
        wander.append(level)
    assert kinds(run(600, loss=lambda s: 2.4 + 8 * 0.95**s + wander[s - 1], noise=0.05)) == set()


def test_where_the_loss_is_small_a_rise_by_half_is_reported() -> None:
    rows = run(250, loss=lambda s: 0.45 + 8 * 0.93**s + 0.3 * (s >= 150), noise=0.07)
    advice = first(urgent(advise(rows)), "divergence")
    assert 150 < advice.step <= 175


def test_a_gradient_of_three_times_its_size_with_a_loss_that_jumps_far_is_an_explosion() -> None:
    rows = run(
        200,
        loss=lambda s: descent(s) + 10 * (150 <= s < 153),
        norm=lambda s: 4.3 if 150 <= s < 153 else 1.0,
    )
    assert first(urgent(advise(rows)), "gradient_explosion").step == 150
    calm = run(200, loss=descent, norm=lambda s: 4.3 if 150 <= s < 153 else 1.0)
    assert "gradient_explosion" not in kinds(calm)


def test_training_loss_that_falls_by_a_third_without_the_validation_loss_is_overfitting() -> None:
    rows = []
    for row in run(300, loss=lambda s: 2.3 * 0.985 ** max(0, s - 150) + 5 * 0.95**s):
        rows.append(row)
        if row["step"] % 10 == 0:
            step = row["step"]
            value = 2.25 + 5 * 0.95 ** min(step, 150) + 0.02 * (step // 10 % 2)
            rows.append({"kind": "eval", "step": step, "val_loss": value})
    advice = first(urgent(advise(rows)), "overfitting")
    assert 170 < advice.step <= 200


@pytest.mark.parametrize(("factor", "is_reported"), [(18.0, True), (1.0, False)])
def test_a_norm_that_stays_high_since_the_rate_was_raised_is_an_instability(
    factor: float, is_reported: bool
) -> None:
    rows = run(
        240,
        loss=lambda s: 2.4 + 8 * 0.95**s + 0.3 * (s >= 150),
        noise=0.2,
        norm=lambda s: 4.6 if s >= 150 else 3.0,
        rate=lambda s: 1e-4 * (factor if s >= 150 else 1.0),
    )
    reports = [a for a in urgent(advise(rows)) if a.kind == "instability"]
    assert bool(reports) is is_reported
    assert all(150 < advice.step <= 180 and advice.suggested_lr is not None for advice in reports)
