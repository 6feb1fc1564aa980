"""Each condition in a run made up for it, and healthy runs, on which nothing is reported."""

from __future__ import annotations

import math
import random

import pytest

from tests.advisor.stories import Row, advise, cosine, descent, first, run, urgent
from tui_trainer.advisor.advisor import Advisor
from tui_trainer.contracts.advice import AdvisorSettings, JobFacts
from tui_trainer.contracts.hardware import GpuSample, HardwareSample

# -- healthy -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.2])
def test_a_healthy_descent_gives_no_advice(seed: int, noise: float) -> None:
    rows = run(900, seed=seed, noise=noise, rate=lambda step: cosine(step, 900))
    assert urgent(advise(rows)) == []


def test_the_tail_of_a_cosine_is_no_plateau() -> None:
    rows = run(1500, loss=lambda s: 1 + 2 * math.exp(-s / 80), rate=lambda s: cosine(s, 1500))
    late = [advice for advice in advise(rows) if advice.step > 1100]
    assert [advice.kind for advice in late] == []


def test_memorised_data_gives_no_vanishing_gradient() -> None:
    rows = run(
        800,
        loss=lambda s: 4 * math.exp(-s / 60) + 0.002,
        noise=0.0005,
        norm=lambda s: 2 * math.exp(-s / 60) + 0.001,
    )
    assert urgent(advise(rows)) == []


def test_a_run_that_logs_every_tenth_step_is_judged_by_its_rows() -> None:
    rows = [row for row in run(3000, rate=lambda s: cosine(s, 3000)) if row["step"] % 10 == 0]
    assert urgent(advise(rows)) == []
    broken = [{**row, "loss": row["loss"] + 2 * (row["step"] > 2000)} for row in rows]
    assert first(advise(broken), "divergence").step <= 2060


def test_heavy_noise_of_small_batches_is_no_oscillation() -> None:
    rows = run(1200, seed=3, noise=0.4, rate=lambda s: cosine(s, 1200))
    assert urgent(advise(rows)) == []


# -- the loss ----------------------------------------------------------------------------------


def test_a_loss_that_rises_and_stays_is_a_divergence_with_a_good_step() -> None:
    rows = run(400, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    advice = first(advise(rows), "divergence")
    assert 200 <= advice.step <= 210
    assert advice.urgency in ("high", "critical")
    assert advice.suggested_lr is not None and advice.learning_rate is not None
    assert advice.suggested_lr < advice.learning_rate
    assert advice.good_step is not None and advice.good_step < 200
    assert advice.evidence.metric == "loss"
    assert advice.evidence.first_step < 200 <= advice.evidence.last_step


def test_a_slow_rise_is_found_too() -> None:
    rows = run(500, loss=lambda s: descent(min(s, 250)) + max(0, s - 250) * 0.008)
    assert first(urgent(advise(rows)), "divergence").step < 310


def test_after_a_raised_rate_the_offer_is_the_rate_before() -> None:
    rows = run(
        300,
        loss=lambda s: descent(s) + 1.0 * (s >= 200),
        rate=lambda s: 1e-2 if s >= 198 else 1e-3 * min(s / 20, 1),
    )
    advice = first(advise(rows), "divergence")
    assert advice.suggested_lr == pytest.approx(1e-3)
    assert advice.factor == pytest.approx(0.1)


def test_one_spike_is_of_low_urgency_and_passes() -> None:
    rows = run(300, loss=lambda s: descent(s) + 3.0 * (s == 200))
    reports = advise(rows)
    assert urgent(reports) == []
    spike = first(reports, "loss_spike")
    assert (spike.step, spike.good_step) == (200, 198)
    assert spike.suggested_lr is None and spike.factor is None
    assert "roll back to the last good checkpoint, if the loss stays high" in spike.also_try
    assert reports[-1].status == "closed"


def test_a_loss_that_begins_to_swing_is_an_oscillation() -> None:
    rows = run(400, loss=lambda s: descent(s) + (0.5 * (-1) ** s if s >= 250 else 0))
    advice = first(urgent(advise(rows)), "oscillation")
    assert 250 <= advice.step <= 300
    assert advice.factor is not None and advice.factor < 1


def test_a_start_without_warmup_that_diverges_has_a_kind_of_its_own() -> None:
    rows = run(
        100,
        loss=lambda s: 4 if s < 3 else 9,
        norm=lambda s: 2 if s < 3 else 20,
        rate=lambda s: 1e-2,
    )
    reports = urgent(advise(rows, JobFacts(warmup_steps=0)))
    assert reports[0].kind == "warmup_too_short"
    assert reports[0].step <= 12
    assert not [advice for advice in reports if advice.kind == "divergence"]


@pytest.mark.parametrize("rate, is_reported", [(3e-2, True), (1e-3, False)])
def test_a_small_rise_of_the_norm_is_enough_at_rates_far_above_those_of_adapters(
    rate: float, is_reported: bool
) -> None:
    rows = run(
        60, loss=lambda s: 9.0, norm=lambda s: 3.2 if s in (6, 7) else 1.4, rate=lambda s: rate
    )
    reports = urgent(advise(rows, JobFacts(warmup_steps=0, adapter=True)))
    assert ("warmup_too_short" in [advice.kind for advice in reports]) is is_reported


@pytest.mark.parametrize(
    "rate, norm, adapter, times",
    [(3e-2, 3.2, True, 1.5), (1e-2, 20.0, False, 5.0), (1e-2, 5.5, False, 2.5)],
)
def test_the_limit_of_a_start_without_warmup_is_the_one_that_was_exceeded(
    rate: float, norm: float, adapter: bool, times: float
) -> None:
    rows = run(60, loss=lambda s: 9.0, norm=lambda s: 1.4 if s < 6 else norm, rate=lambda s: rate)
    reports = advise(rows, JobFacts(warmup_steps=0, adapter=adapter))
    evidence = first(reports, "warmup_too_short").evidence
    assert evidence.value and evidence.level and evidence.limit
    assert evidence.limit == pytest.approx(times * evidence.level)
    assert evidence.limit <= evidence.value


# -- the gradient ------------------------------------------------------------------------------


def test_a_gradient_explosion_is_reported_at_once() -> None:
    rows = run(
        300,
        loss=lambda s: descent(s) + 2 * (200 <= s < 203),
        norm=lambda s: 40 if 200 <= s < 203 else 1.0,
    )
    reports = advise(rows)
    advice = first(reports, "gradient_explosion")
    assert (advice.step, advice.urgency) == (200, "high")
    assert any(a.id == advice.id and a.status == "closed" for a in reports)


@pytest.mark.parametrize(("share", "within"), [(0.0, 2), (0.002, 6), (0.3, 20)])
def test_a_gradient_that_vanishes_while_nothing_is_learned(share: float, within: int) -> None:
    rows = run(
        300,
        loss=lambda s: descent(min(s, 200)),
        norm=lambda s: share if s >= 200 else 1.0,
    )
    advice = first(urgent(advise(rows)), "gradient_vanishing")
    assert 200 <= advice.step <= 200 + within


def test_a_gradient_that_begins_to_scatter_is_an_instability() -> None:
    rows = run(
        400,
        loss=lambda s: descent(min(s, 200)) + 0.1 * (s > 200),
        norm=lambda s: 4.0 if s > 250 and s % 3 else 0.7 if s > 250 else 1.0,
    )
    assert 250 <= first(urgent(advise(rows)), "instability").step <= 300


# -- progress ----------------------------------------------------------------------------------


def test_a_rate_far_too_low_from_the_start_is_found_within_fifty_steps() -> None:
    rows = run(100, loss=lambda s: 4.0, rate=lambda s: min(s / 10, 1) * 1e-8)
    advice = first(urgent(advise(rows, JobFacts(warmup_steps=10, adapter=True))), "plateau")
    assert advice.step <= 60
    assert advice.urgency == "high"
    assert advice.factor is not None and advice.factor > 1


def test_a_rate_that_was_cut_by_hand_and_stops_the_learning() -> None:
    rows = run(
        300,
        loss=lambda s: descent(min(s, 100)),
        rate=lambda s: 1e-3 * min(s / 20, 1) if s <= 100 else 1e-7,
    )
    advice = first(urgent(advise(rows)), "plateau")
    assert 100 < advice.step <= 150
    assert advice.suggested_lr == pytest.approx(1e-3)


def test_a_long_stand_at_full_rate_is_a_plateau_of_low_urgency() -> None:
    rows = run(1500, loss=lambda s: 2 + 2 * math.exp(-s / 50), rate=lambda s: 1e-3)
    reports = advise(rows)
    assert first(reports, "plateau").urgency == "low"
    assert urgent(reports) == []


def with_evaluations(rows: list[Row], every: int, turn: int, rise: float) -> list[Row]:
    found = []
    for row in rows:
        found.append(row)
        step = row["step"]
        if step % every == 0:
            value = descent(min(step, turn)) + max(0, step - turn) * rise
            found.append({"kind": "eval", "step": step, "val_loss": value, "time": row["time"]})
    return found


def test_a_validation_loss_that_turns_while_training_falls_is_overfitting() -> None:
    reports = advise(with_evaluations(run(400), every=10, turn=150, rise=0.005))
    advice = first(urgent(reports), "overfitting")
    assert 150 < advice.step <= 200
    assert advice.good_step == 150
    assert advice.suggested_lr is None


def test_a_validation_loss_that_falls_is_no_overfitting() -> None:
    assert advise(with_evaluations(run(400), every=10, turn=400, rise=0)) == []


@pytest.mark.parametrize("seed", range(6))
def test_a_validation_loss_that_wavers_while_training_barely_moves_is_no_overfitting(
    seed: int,
) -> None:
    rows = run(400, seed=seed, loss=lambda s: max(descent(s), 2.1) - 5e-5 * s)
    reports = advise(with_evaluations(rows, every=10, turn=200, rise=0.005))
    assert not [advice for advice in reports if advice.kind == "overfitting"]


# -- the machine -------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_is_critical() -> None:
    rows = run(50)
    rows[40] = {**rows[40], "loss": None, "nonfinite": ["loss"]}
    advice = first(advise(rows), "non_finite")
    assert (advice.step, advice.urgency) == (41, "critical")
    assert advice.good_step == 40


def test_a_hang_is_reported_once_by_the_clock() -> None:
    rows = run(60)
    advisor = Advisor()
    for row in rows[:50]:
        assert advisor.observe(row) == []
    started_at = rows[49]["time"]
    assert advisor.tick(started_at + 1.5) == []
    raised = advisor.tick(started_at + 2.5)
    assert [(a.kind, a.status, a.step) for a in raised] == [("stalled", "raised", 50)]
    assert advisor.tick(started_at + 100) == []
    closed = advisor.observe({**rows[50], "step_time_ms": 101_000.0})
    assert [(a.kind, a.status) for a in closed] == [("stalled", "closed")]


def test_a_hang_is_reported_by_the_next_record_as_by_the_clock() -> None:
    rows = run(60)
    rows[50]["step_time_ms"] = 101_000.0
    ticked = Advisor()
    reports = [a for row in rows[:50] for a in ticked.observe(row)]
    reports += ticked.tick(rows[49]["time"] + 2.5)
    reports += [a for row in rows[50:] for a in ticked.observe(row)]
    assert reports == advise(rows)


def test_waiting_for_data_is_reported_once_most_steps_wait() -> None:
    assert urgent(advise(run(100, data_time_ms=10.0))) == []
    reports = urgent(advise(run(100, data_time_ms=70.0)))
    assert [advice.kind for advice in reports if advice.status == "raised"] == ["data_bound"]


def test_memory_near_its_limit_is_reported_after_three_samples_and_closed() -> None:
    def sample(used: int) -> HardwareSample:
        gpu = GpuSample(index=0, memory_used=used, memory_total=100)
        return HardwareSample(time=0.0, ram_used=10, ram_total=100, gpus=[gpu])

    advisor = Advisor()
    reports = [advisor.observe_hardware(sample(used)) for used in (97, 97, 97, 97, 50)]
    assert [[a.status for a in item] for item in reports] == [[], [], ["raised"], [], ["closed"]]
    assert "gpu0" in reports[2][0].reason


# -- reports over time ----------------------------------------------------------------------------


def test_an_advice_is_raised_once_updated_while_it_lasts_and_closed() -> None:
    rows = run(700, loss=lambda s: descent(s) + 1.5 * (200 <= s < 400))
    reports = [advice for advice in advise(rows) if advice.kind == "divergence"]
    assert len({advice.id for advice in reports}) == 1
    assert [reports[0].status, reports[-1].status] == ["raised", "closed"]
    assert {advice.status for advice in reports[1:-1]} <= {"updated"}
    assert 2 <= len(reports) <= 6
    assert 400 <= reports[-1].updated_step <= 440


def test_a_muted_kind_is_not_raised() -> None:
    rows = run(300, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    reports = advise(rows, settings=AdvisorSettings(muted=["divergence"]))
    assert "divergence" not in {advice.kind for advice in reports}


def test_without_norm_and_rate_the_loss_is_judged_all_the_same() -> None:
    rows = run(300, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    bare = [{"step": row["step"], "train/loss": row["loss"]} for row in rows]
    advice = first(advise(bare), "divergence")
    assert advice.learning_rate is None and advice.suggested_lr is None
    assert advice.factor is not None


def test_a_run_that_goes_back_closes_the_advice_on_later_steps() -> None:
    rows = run(250, loss=lambda s: descent(s) + 1.5 * (s >= 200))
    advisor = Advisor()
    for row in rows:
        advisor.observe(row)
    assert advisor.open
    closed = advisor.observe(run(150)[-1])
    assert {advice.status for advice in closed} == {"closed"}
    assert advisor.open == []
    again = [a for row in run(300, seed=2)[150:] for a in advisor.observe(row)]
    assert urgent(again) == []


def test_nothing_learned_at_a_sensible_rate_is_reported_late_and_with_low_urgency() -> None:
    reports = advise(run(400, loss=lambda s: 2.0, rate=lambda s: 1e-5))
    advice = first(reports, "plateau")
    assert 200 <= advice.step <= 400
    assert "The model does not learn" in advice.reason
    assert urgent(reports) == []


def test_after_a_warm_restart_the_reference_starts_again() -> None:
    def rate(step: int) -> float:
        return 1e-3 * (0.01 + 0.5 * (1 + math.cos(math.pi * (step % 300) / 300)))

    for seed in range(4):
        rows = run(900, seed=seed, rate=rate, loss=lambda s: descent(s) + 80 * rate(s))
        assert urgent(advise(rows)) == []


def test_noise_that_wanders_slowly_is_no_rising_trend() -> None:
    for seed in range(6):
        draw, offset = random.Random(seed), 0.0
        rows = run(900, seed=seed, noise=0.02)
        for row in rows:
            offset = 0.6 * offset + draw.gauss(0, 0.03)
            row["loss"] += offset
        assert urgent(advise(rows)) == []


@pytest.mark.parametrize("seed", range(4))
def test_a_slow_fine_tuning_gives_no_advice(seed: int) -> None:
    rows = run(600, seed=seed, noise=0.1, loss=lambda s: 1.4 - 0.15 * s / 600, rate=lambda s: 2e-5)
    assert urgent(advise(rows)) == []


@pytest.mark.parametrize("seed", range(12))
def test_batches_of_one_are_noisy_from_the_first_step_and_no_alarm(seed: int) -> None:
    rows = run(300, seed=seed, noise=0.0, loss=lambda s: 1.4 - 0.2 * s / 300, rate=lambda s: 2e-5)
    draw = random.Random(seed)
    for row in rows:
        row["loss"] *= math.exp(draw.gauss(0, 0.4))
        row["gradient_norm"] *= math.exp(draw.gauss(0, 0.3))
    assert urgent(advise(rows)) == []
    assert urgent(advise(rows, JobFacts(warmup_steps=0, adapter=True))) == []
