"""The advisor: a run's records in, in order, advice out.

It sees nothing else: no clock, no file, no random number. So the same records give the same
advice, live or replayed, and whether or not its state was saved and restored in between.
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
from tui_trainer.advisor.record_values import RecordValues, read
from tui_trainer.advisor.state import EVALUATIONS, AdvisorState, EvaluationPoint, close_block, note
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.metrics import EvalRecord, TrainRecord

Record = TrainRecord | EvalRecord | RecordValues | Mapping[str, Any]

GAP_SECONDS = 60.0  # a shorter gap between rows without step times is not called a hang
# Kinds that are judged elsewhere than in training rows, and closed there.
_ELSEWHERE = {"overfitting", "memory", "stalled"}


class Advisor:
    """Judges one run.

    Feed every train and eval record to `observe`, hardware samples to `observe_hardware`, and
    the time to `tick`; each gives the advice that was raised, updated or closed by it. Nothing
    given to them raises. Keep `state()` with every checkpoint and hand it to `restore` after
    resuming from it.
    """

    def __init__(
        self, settings: AdvisorSettings | None = None, facts: JobFacts | None = None
    ) -> None:
        self._settings = settings or AdvisorSettings()
        self._facts = facts or JobFacts()
        self._memory = AdvisorState()

    @property
    def open(self) -> list[Advice]:
        """The advice that stands, oldest first."""
        return [known.advice for known in self._memory.open.values()]

    @property
    def muted(self) -> list[str]:
        """The kinds that were muted in this run."""
        return list(self._memory.muted)

    @property
    def hang_seconds(self) -> float | None:
        """How long a step may take before `tick` calls it a hang; None while that is not known."""
        return hardware_rules.hang_limit(self._memory, self._settings)

    def observe(self, record: Record) -> list[Advice]:
        """Takes in the next record. One without a step counts as the next step."""
        reading = read(record)
        memory = self._memory
        if not self._settings.enabled:
            return []
        said: list[Advice] = []
        is_training = reading.loss is not None or "loss" in reading.nonfinite
        is_training = is_training or "gradient_norm" in reading.nonfinite
        if is_training or reading.step_time_ms is not None:
            said += self._time(reading)
        if reading.step is not None and is_training:
            if reading.step < memory.step and memory.rows:
                said += self._rewind(reading.step)
            memory.step = reading.step
        elif is_training:
            memory.step += 1
        if is_training:
            said += self._train(reading)
        if reading.val_loss is not None or "val_loss" in reading.nonfinite:
            said += self._evaluation(reading)
        return said

    def tick(self, now: float, since: float | None = None) -> list[Advice]:
        """Tells the time (seconds since the epoch) while a step is under way that began at
        `since`, by default when the newest record was written. Not to be called while the run
        is paused, evaluating or saving. Raises a hang; the next record closes it."""
        memory = self._memory
        limit = hardware_rules.hang_limit(memory, self._settings)
        began = memory.last_time if since is None else since
        if not self._settings.enabled or limit is None or began is None:
            return []
        if now - began <= limit or "stalled" in memory.open:
            return []
        return advice_lifecycle.report(
            memory, hardware_rules.stalled(memory, limit), self._settings
        )

    def observe_hardware(self, sample: HardwareSample) -> list[Advice]:
        """Takes in a sample of the machine."""
        memory = self._memory
        if not self._settings.enabled:
            return []
        finding = hardware_rules.memory_near_limit(memory, sample, self._settings)
        if finding is not None:
            return advice_lifecycle.report(memory, finding, self._settings)
        return [advice_lifecycle.close(memory, "memory")] if "memory" in memory.open else []

    def mute(self, kind: str) -> list[Advice]:
        """Never raises a kind again in this run, and closes what is open of it."""
        if kind not in self._memory.muted:
            self._memory.muted.append(kind)
        return [advice_lifecycle.close(self._memory, kind)] if kind in self._memory.open else []

    def state(self) -> dict[str, Any]:
        """Everything that is remembered, as plain JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self._memory)
        return found

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes on from `state()`. Raises `msgspec.ValidationError` for what is none."""
        self._memory = msgspec.convert(state, AdvisorState)

    # -- one kind of record each ---------------------------------------------------------------

    def _time(self, reading: RecordValues) -> list[Advice]:
        """Hangs are told from the step's own time, or from the gap between two records."""
        memory, said = self._memory, []
        milliseconds, least = reading.step_time_ms, 0.0
        if milliseconds is None and reading.time is not None and memory.last_time is not None:
            # What else a tool does between two rows, such as saving, is no hang.
            milliseconds, least = max(0.0, (reading.time - memory.last_time) * 1000), GAP_SECONDS
        if reading.time is not None:
            memory.last_time = reading.time
        if milliseconds is None or milliseconds < 0:
            return []
        limit = hardware_rules.hang_limit(memory, self._settings)
        hung = limit is not None and milliseconds / 1000 > max(limit, least)
        if hung and limit is not None and "stalled" not in memory.open:
            said = advice_lifecycle.report(
                memory, hardware_rules.stalled(memory, limit), self._settings
            )
        memory.step_times.append(milliseconds)
        del memory.step_times[: -hardware_rules.TIMES]
        if "stalled" in memory.open:
            if reading.step is not None:
                memory.step = max(memory.step, reading.step)
            said.append(advice_lifecycle.close(memory, "stalled"))
        return said

    def _train(self, reading: RecordValues) -> list[Advice]:
        memory, facts = self._memory, self._facts
        found: list[Condition | None] = [hardware_rules.non_finite(memory, reading)]
        if reading.loss is not None:
            note(memory, reading)
            loss_rules.accumulate(memory)
            diverging = loss_rules.divergence(memory, facts)
            found += [
                diverging,
                loss_rules.spike(memory),
                loss_rules.oscillation(memory),
                progress_rules.plateau(memory, facts),
            ]
            if reading.gradient_norm is not None:
                found += [
                    gradient_rules.cold_start(memory, facts) if diverging is None else None,
                    gradient_rules.explosion(memory, facts),
                    gradient_rules.vanishing(memory),
                    gradient_rules.instability(memory),
                ]
            found.append(hardware_rules.data_bound(memory, reading, self._settings))
        seen = {finding.kind for finding in found if finding is not None}
        said = [
            advice
            for finding in found
            if finding is not None
            for advice in advice_lifecycle.report(memory, finding, self._settings)
        ]
        said += advice_lifecycle.pass_row(memory, seen | _ELSEWHERE)
        memory.frozen = bool({"divergence", "warmup_too_short"} & memory.open.keys())
        close_block(memory)
        return said

    def _evaluation(self, reading: RecordValues) -> list[Advice]:
        memory = self._memory
        if reading.step is not None:
            memory.step = max(memory.step, reading.step)
        if reading.time is not None:
            memory.last_time = reading.time
        if reading.val_loss is None:
            finding = hardware_rules.non_finite(memory, reading)
            return (
                [] if finding is None else advice_lifecycle.report(memory, finding, self._settings)
            )
        recent = memory.losses[-8:]
        if not recent:
            return []
        noise = 1.25 * robust_stats.noise(memory.losses[-32:]) / len(recent) ** 0.5
        level = robust_stats.median(recent)
        memory.evaluations.append(EvaluationPoint(memory.step, reading.val_loss, level, noise))
        if len(memory.evaluations) > EVALUATIONS:
            _thin(memory.evaluations)
        found = progress_rules.overfitting(memory)
        if found is not None:
            return advice_lifecycle.report(memory, found, self._settings)
        return advice_lifecycle.pass_row(memory, set(), {"overfitting"})

    def _rewind(self, step: int) -> list[Advice]:
        """The run went back: what was said of later steps is over, and what is normal has to
        be learned again; where the loss began is kept."""
        memory = self._memory
        memory.step = step
        said = [advice_lifecycle.close(memory, kind) for kind in list(memory.open)]
        kept = [point for point in memory.evaluations if point.step < step]
        self._memory = AdvisorState(
            rows=memory.rows,
            step=step,
            first_step=memory.first_step,
            first_losses=memory.first_losses,
            first=memory.first,
            rate=memory.rate,
            peak_rate=memory.peak_rate,
            peak_row=memory.peak_row,
            warm_steps=memory.warm_steps,
            evaluations=kept,
            step_times=memory.step_times,
            raised=memory.raised,
            muted=memory.muted,
        )
        return said


def _thin(points: list[EvaluationPoint]) -> None:
    """Leaves out the oldest evaluation that is not the best."""
    best = min(range(len(points)), key=lambda i: points[i].val_loss)
    del points[1 if best == 0 else 0]
