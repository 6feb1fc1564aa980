"""Which lines of `samples.jsonl` count after resumes and rollbacks."""

from __future__ import annotations

from tui_trainer.contracts.runs.run import Event
from tui_trainer.contracts.runs.samples import SampleRecord
from tui_trainer.watch.runs.details.sample_answers import valid_samples


def record(step: int, time: float, number: int = 0) -> SampleRecord:
    return SampleRecord(
        step=step, epoch=step / 10, time=time, number=number, prompt="?", answer=f"{step} {time}",
        tokens=1, finish="end",
    )  # fmt: skip


def event(kind: str, step: int, time: float) -> Event:
    return Event(time=time, step=step, kind=kind, message="")


def test_all_prompts_of_an_evaluation_stand_together() -> None:
    found = valid_samples([record(0, 1), record(0, 1, 1), record(5, 2), record(5, 2, 1)], ())
    assert [(one.step, sorted(one.answers)) for one in found] == [(0, [0, 1]), (5, [0, 1])]


def test_an_evaluation_made_again_replaces_the_earlier_one() -> None:
    found = valid_samples([record(5, 2, 0), record(5, 2, 1), record(5, 4, 0)], ())
    assert [(one.time, sorted(one.answers)) for one in found] == [(4, [0])]


def test_an_earlier_step_removes_the_later_ones() -> None:
    found = valid_samples([record(0, 1), record(5, 2), record(10, 3), record(5, 4)], ())
    assert [(one.step, one.time) for one in found] == [(0, 1), (5, 4)]


def test_a_rollback_or_resume_removes_later_steps_before_they_are_made_again() -> None:
    records = [record(0, 1), record(5, 2), record(10, 3)]
    for kind in ("rollback", "resumed"):
        found = valid_samples(records, [event(kind, 5, 3.5)])
        assert [one.step for one in found] == [0, 5]
    later = [*records, record(10, 4)]
    assert [one.time for one in valid_samples(later, [event("rollback", 5, 3.5)])] == [1, 2, 4]
