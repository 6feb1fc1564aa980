"""The answers to a run's sample prompts by evaluation, without those of steps that were undone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.runs.samples import SampleRecord


@dataclass(frozen=True)
class SampledStep:
    """The answers at one evaluation."""

    step: int  # optimizer steps finished; 0: before training
    epoch: float  # passes over the training data
    time: float  # seconds since the epoch
    answers: dict[int, SampleRecord] = field(default_factory=dict)  # by number of the prompt


def valid_samples(
    records: Iterable[SampleRecord], events: Iterable[Event]
) -> tuple[SampledStep, ...]:
    """Return the evaluations in the order of their steps.

    As in `metrics.jsonl`, an answer of a later step is replaced where the run went back: by a line
    of that step or an earlier one, or by a resume or rollback to an earlier step.
    """
    cuts = [(event.time, event.step) for event in events if event.kind in ("resumed", "rollback")]
    found: dict[int, SampledStep] = {}
    for record in records:
        if any(record.time < at and record.step > step for at, step in cuts):
            continue
        for step in [step for step in found if step > record.step]:
            del found[step]
        known = found.get(record.step)
        if known is None or known.time != record.time:
            known = SampledStep(record.step, record.epoch, record.time)
            found[record.step] = known
        known.answers[record.number] = record
    return tuple(found.values())
