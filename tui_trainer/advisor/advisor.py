"""The advisor: receives a run's records in order and returns advice.

It uses no clock, file or random number, so the same records always give the same advice, live or
replayed, and whether or not its state was saved and restored in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tui_trainer.advisor import (
    advice_lifecycle,
    gradient_rules,
    hardware_rules,
    loss_rules,
    progress_rules,
    robust_stats,
)
from tui_trainer.advisor.advice_lifecycle import Condition
from tui_trainer.advisor.record_values import RecordValues, read_record
from tui_trainer.advisor.state import (
    EVALUATIONS_KEPT,
    AdvisorState,
    EvaluationPoint,
    add_row,
    close_block,
)
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.runs.metrics import EvalRecord, TrainRecord

Record = TrainRecord | EvalRecord | RecordValues | Mapping[str, Any]

GAP_SECONDS = 60.0  # a shorter gap between rows without step times is no hang
# Kinds that are not judged from training rows, and not closed by them.
_NOT_FROM_ROWS = {"overfitting", "memory", "stalled"}


class Advisor:
    """Judges one run.

    Pass every training and evaluation record to `observe`, hardware samples to
    `observe_hardware` and the time to `tick`; each returns the advice that it raised, updated or
    closed, and raises for no input. Save `state()` with every checkpoint and pass it to `restore`
    after resuming from it.

    Args:
        settings: the user's advisor settings.
        facts: the job's plan, as far as it is known.
    """

    def __init__(
        self, settings: AdvisorSettings | None = None, facts: JobFacts | None = None
    ) -> None:
        self._settings = settings or AdvisorSettings()
        self._facts = facts or JobFacts()
        self._state = AdvisorState()

    @property
    def open(self) -> list[Advice]:
        """The open advice, oldest first."""
        return [known.advice for known in self._state.open.values()]

    @property
    def muted(self) -> list[str]:
        """The kinds that were muted in this run."""
        return list(self._state.muted)

    @property
    def hang_seconds(self) -> float | None:
        """Seconds that a step may take before `tick` reports a hang; None while too few steps
        were timed."""
        return hardware_rules.hang_limit(self._state, self._settings)

    def observe(self, record: Record) -> list[Advice]:
        """Judges the next record. A record without a step counts as the next step."""
        row = read_record(record)
        state = self._state
        if not self._settings.enabled:
            return []
        reports: list[Advice] = []
        is_training = row.loss is not None or "loss" in row.nonfinite
        is_training = is_training or "gradient_norm" in row.nonfinite
        if is_training or row.step_time_ms is not None:
            reports += self._time(row)
        if row.step is not None and is_training:
            if row.step < state.step and state.rows:
                reports += self._rewind(row.step)
            state.step = row.step
        elif is_training:
            state.step += 1
        if is_training:
            reports += self._train(row)
        if row.val_loss is not None or "val_loss" in row.nonfinite:
            reports += self._evaluation(row)
        return reports

    def tick(self, now: float, since: float | None = None) -> list[Advice]:
        """Reports a hang where the current step takes too long; the next record closes it.

        Args:
            now: seconds since the epoch. Do not call while the run pauses, evaluates or saves.
            since: when the step started, by default when the newest record was written.
        """
        state = self._state
        limit = hardware_rules.hang_limit(state, self._settings)
        started = state.last_time if since is None else since
        if not self._settings.enabled or limit is None or started is None:
            return []
        if now - started <= limit or "stalled" in state.open:
            return []
        return advice_lifecycle.report(state, hardware_rules.stalled(state, limit), self._settings)

    def observe_hardware(self, sample: HardwareSample) -> list[Advice]:
        """Judges the memory in use, from a hardware sample."""
        state = self._state
        if not self._settings.enabled:
            return []
        condition = hardware_rules.memory_near_limit(state, sample, self._settings)
        if condition is not None:
            return advice_lifecycle.report(state, condition, self._settings)
        return [advice_lifecycle.close(state, "memory")] if "memory" in state.open else []

    def mute(self, kind: str) -> list[Advice]:
        """Raises no more advice of this kind in this run, and closes an open one."""
        if kind not in self._state.muted:
            self._state.muted.append(kind)
        return [advice_lifecycle.close(self._state, kind)] if kind in self._state.open else []

    def state(self) -> dict[str, Any]:
        """The whole state as plain JSON values."""
        values: dict[str, Any] = msgspec.to_builtins(self._state)
        return values

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continues from the result of `state()`. Raises `msgspec.ValidationError` where the
        values are not a state."""
        self._state = msgspec.convert(state, AdvisorState)

    # -- one kind of record each ---------------------------------------------------------------

    def _time(self, row: RecordValues) -> list[Advice]:
        """Reports hangs, from the step's own time or from the gap between two records."""
        state, reports = self._state, []
        milliseconds, least = row.step_time_ms, 0.0
        if milliseconds is None and row.time is not None and state.last_time is not None:
            # Between two rows a tool may save or evaluate, which is no hang.
            milliseconds, least = max(0.0, (row.time - state.last_time) * 1000), GAP_SECONDS
        if row.time is not None:
            state.last_time = row.time
        if milliseconds is None or milliseconds < 0:
            return []
        limit = hardware_rules.hang_limit(state, self._settings)
        hung = limit is not None and milliseconds / 1000 > max(limit, least)
        if hung and limit is not None and "stalled" not in state.open:
            reports = advice_lifecycle.report(
                state, hardware_rules.stalled(state, limit), self._settings
            )
        state.step_times.append(milliseconds)
        del state.step_times[: -hardware_rules.TIMES_KEPT]
        if "stalled" in state.open:
            if row.step is not None:
                state.step = max(state.step, row.step)
            reports.append(advice_lifecycle.close(state, "stalled"))
        return reports

    def _train(self, row: RecordValues) -> list[Advice]:
        state, facts = self._state, self._facts
        found: list[Condition | None] = [hardware_rules.non_finite(state, row)]
        if row.loss is not None:
            add_row(state, row)
            loss_rules.accumulate(state)
            diverging = loss_rules.divergence(state, facts)
            found += [
                diverging,
                loss_rules.spike(state),
                loss_rules.oscillation(state),
                progress_rules.plateau(state, facts),
            ]
            if row.gradient_norm is not None:
                found += [
                    gradient_rules.cold_start(state, facts) if diverging is None else None,
                    gradient_rules.explosion(state, facts),
                    gradient_rules.vanishing(state),
                    gradient_rules.instability(state),
                ]
            found.append(hardware_rules.data_bound(state, row, self._settings))
        seen = {condition.kind for condition in found if condition is not None}
        reports = [
            advice
            for condition in found
            if condition is not None
            for advice in advice_lifecycle.report(state, condition, self._settings)
        ]
        reports += advice_lifecycle.pass_row(state, seen | _NOT_FROM_ROWS)
        state.frozen = bool({"divergence", "warmup_too_short"} & state.open.keys())
        close_block(state)
        return reports

    def _evaluation(self, row: RecordValues) -> list[Advice]:
        state = self._state
        if row.step is not None:
            state.step = max(state.step, row.step)
        if row.time is not None:
            state.last_time = row.time
        if row.val_loss is None:
            condition = hardware_rules.non_finite(state, row)
            return (
                []
                if condition is None
                else advice_lifecycle.report(state, condition, self._settings)
            )
        recent = state.losses[-8:]
        if not recent:
            return []
        noise = 1.25 * robust_stats.noise(state.losses[-32:]) / len(recent) ** 0.5
        level = robust_stats.median(recent)
        state.evaluations.append(EvaluationPoint(state.step, row.val_loss, level, noise))
        if len(state.evaluations) > EVALUATIONS_KEPT:
            _thin(state.evaluations)
        found = progress_rules.overfitting(state)
        if found is not None:
            return advice_lifecycle.report(state, found, self._settings)
        return advice_lifecycle.pass_row(state, set(), {"overfitting"})

    def _rewind(self, step: int) -> list[Advice]:
        """Continues after the run went back to `step`: closes all advice and forgets what was
        normal, but keeps the first losses, the rates and the earlier evaluations."""
        state = self._state
        state.step = step
        reports = [advice_lifecycle.close(state, kind) for kind in list(state.open)]
        kept = [point for point in state.evaluations if point.step < step]
        self._state = AdvisorState(
            rows=state.rows,
            step=step,
            first_step=state.first_step,
            first_losses=state.first_losses,
            first=state.first,
            rate=state.rate,
            peak_rate=state.peak_rate,
            peak_row=state.peak_row,
            warm_steps=state.warm_steps,
            evaluations=kept,
            step_times=state.step_times,
            raised=state.raised,
            muted=state.muted,
        )
        return reports


def _thin(points: list[EvaluationPoint]) -> None:
    """Drops the oldest evaluation that is not the best."""
    best = min(range(len(points)), key=lambda i: points[i].val_loss)
    del points[1 if best == 0 else 0]
