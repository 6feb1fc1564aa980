"""From feedback to a live adapter, on a model and an engine that learn at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from tests.teaching import conftest
from tests.teaching.conftest import WHEN, WHERE, WHO, ask_live
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.store import paths

if TYPE_CHECKING:
    Room = Any


def test_the_threshold_starts_a_training_and_its_adapter_answers(classroom: Room) -> None:
    trainer = classroom.trainer()
    ids = classroom.rate(WHO)
    trainer.wake()
    assert trainer.wait(20)
    assert trainer.trainings() == []
    assert trainer.buffer().count == 1

    ids += classroom.rate(WHEN)
    trainer.wake()
    assert trainer.wait(20)

    (record,) = trainer.trainings()
    assert record.state == "live", record.message
    assert record.examples == ids
    assert (record.before.recalled, record.after.recalled) == (0.0, 1.0)
    assert record.after.kept == 1.0
    assert record.step == record.total_steps == 60
    assert ask_live(classroom, "Who bakes?") == "Ana"
    assert ask_live(classroom, "What is 2 + 2?") == "4"
    assert classroom.adapters.live() == {record.adapter: 1.0}
    assert [e.trained_in for e in classroom.feedback.examples()] == [record.adapter] * 2
    info = classroom.adapters.get(record.adapter)
    assert info.examples == ids
    assert (info.steps, info.train_loss, info.parent) == (60, 0.01, None)
    assert trainer.buffer().count == 0


def test_the_next_training_goes_on_from_what_is_live(classroom: Room) -> None:
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(20)
    first = trainer.trainings()[0].adapter
    (third,) = classroom.rate(WHERE)
    record = trainer.train_now()
    assert record.state == "queued"
    assert trainer.wait(20)

    second = trainer.trainings()[1]
    assert (second.state, second.parent) == ("live", first)
    info = classroom.adapters.get(second.adapter)
    assert (info.examples, info.parent) == ([third], first)
    assert ask_live(classroom, "Who bakes?") == "Ana"
    assert ask_live(classroom, "Where?") == "in the yard"


def test_a_changed_correction_replaces_the_old_one(classroom: Room) -> None:
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(20)
    classroom.feedback.add(conftest.example("Who bakes?", "Bea", answer="Ana"))
    record = trainer.train_now()
    assert trainer.wait(20)

    assert ask_live(classroom, "Who bakes?") == "Bea"
    folder = paths.home() / "teaching" / record.id
    taught, replayed = ((folder / f"{n}.jsonl").read_text() for n in ("train", "replay"))
    assert "Bea" in taught
    assert "Ana" not in taught + replayed, "the old answer is not taught or replayed again"
    assert "at seven" in replayed


def test_an_unloaded_adapter_is_not_brought_back(classroom: Room) -> None:
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(20)
    classroom.client.use({}, {})
    classroom.adapters.set_live({})
    classroom.rate(WHERE)
    trainer.train_now()
    assert trainer.wait(20)

    assert trainer.trainings()[1].parent is None
    assert ask_live(classroom, "Where?") == "in the yard"
    assert ask_live(classroom, "Who bakes?") == "?"


def test_a_new_rank_starts_again_and_learns_the_earlier_examples_again(classroom: Room) -> None:
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(20)
    classroom.settings = TeachingSettings(auto_train_threshold=0, rank=4)
    (third,) = classroom.rate(WHERE)
    trainer.train_now()
    assert trainer.wait(20)

    second = trainer.trainings()[1]
    assert second.parent is None
    assert classroom.adapters.get(second.adapter).examples == [third]
    assert ask_live(classroom, "Who bakes?") == "Ana"
    assert ask_live(classroom, "Where?") == "in the yard"


def test_what_arrives_during_a_training_waits_for_the_next(
    classroom: Room, wait_until: Callable[..., None]
) -> None:
    classroom.mood("hang")
    trainer = classroom.trainer()
    first = classroom.rate(WHO, WHEN)
    trainer.wake()
    wait_until(lambda: [r.state for r in trainer.trainings()] == ["training"])
    later = classroom.rate(WHERE)
    assert trainer.buffer().count == 1
    queued = trainer.train_now()
    assert queued.examples == later
    assert trainer.buffer().count == 0
    with pytest.raises(UserError, match="in a training already"):
        trainer.train_now()

    classroom.mood("complete")
    trainer.cancel(trainer.trainings()[0].id)
    wait_until(lambda: trainer.trainings()[0].state == "cancelled")
    wait_until(lambda: trainer.trainings()[1].state == "live")
    assert trainer.trainings()[1].examples == later
    assert [e.id for e in classroom.feedback.pending()] == first


def test_the_user_may_let_a_refused_adapter_through(classroom: Room) -> None:
    classroom.mood("forget")
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    (record,) = trainer.trainings()
    with pytest.raises(UserError, match="no training 'nonsense'"):
        trainer.override("nonsense")
    trainer.override(record.id)
    assert trainer.wait(20)
    assert trainer.trainings()[0].state == "live"
    assert ask_live(classroom, "Who bakes?") == "Ana"
    assert classroom.feedback.pending() == []
    with pytest.raises(UserError, match="was not refused"):
        trainer.override(record.id)


def test_a_refused_adapter_whose_examples_were_learned_since_stays_out(classroom: Room) -> None:
    classroom.mood("forget")
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    assert trainer.wait(30)
    classroom.mood("complete")
    trainer.train_now()
    assert trainer.wait(20)
    with pytest.raises(UserError, match="learned, dropped or queued since"):
        trainer.override(trainer.trainings()[0].id)


@pytest.mark.slow
def test_an_edit_during_the_training_is_taught_by_the_next(
    classroom: Room, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1")
    trainer = classroom.trainer()
    who, when = classroom.rate(WHO, WHEN)
    trainer.wake()
    wait_until(lambda: [r.state for r in trainer.trainings()] == ["training"])
    classroom.feedback.edit(who, correction="Bea")
    assert trainer.wait(20)
    assert [e.id for e in classroom.feedback.pending()] == [who]
    assert classroom.feedback.get(when).trained_in is not None
    trainer.train_now()
    assert trainer.wait(20)
    assert ask_live(classroom, "Who bakes?") == "Bea"


def test_the_newest_of_two_corrections_of_a_question_counts(classroom: Room) -> None:
    trainer = classroom.trainer()
    classroom.rate(("Who bakes?", "Ana"), ("who  bakes?", "Bea"))
    trainer.wake()
    assert trainer.wait(20)
    (record,) = trainer.trainings()
    assert record.after.recalled_count == 1
    assert ask_live(classroom, "who  bakes?") == "Bea"
    assert classroom.feedback.pending() == []


def test_dropped_examples_leave_the_queue(classroom: Room, wait_until: Callable[..., None]) -> None:
    classroom.mood("hang")
    trainer = classroom.trainer()
    classroom.rate(WHO, WHEN)
    trainer.wake()
    wait_until(lambda: [r.state for r in trainer.trainings()] == ["training"])
    (later,) = classroom.rate(WHERE)
    trainer.train_now()
    classroom.feedback.drop(later)
    classroom.mood("complete")
    trainer.cancel(trainer.trainings()[0].id)
    assert trainer.wait(20)
    second = trainer.trainings()[1]
    expected = ("cancelled", "its examples were dropped before it started")
    assert (second.state, second.message) == expected


def test_nothing_to_train_is_reported(classroom: Room) -> None:
    trainer = classroom.trainer()
    with pytest.raises(UserError, match="rate an answer"):
        trainer.train_now()
    classroom.rate(("Who?", ""))
    with pytest.raises(UserError, match="1 rated answer needs a correction"):
        trainer.train_now()
    assert trainer.buffer().needs_correction == 1


def test_examples_of_another_base_wait_for_it(classroom: Room) -> None:
    trainer = classroom.trainer()
    (other,) = classroom.rate(WHO)
    moved = msgspec.structs.replace(classroom.feedback.get(other), base_model="/models/other")
    classroom.feedback.add(moved)
    classroom.feedback.drop(other)
    assert trainer.buffer().count == 0
    with pytest.raises(UserError, match="nothing to train on"):
        trainer.train_now()


def test_only_one_session_teaches(classroom: Room, wait_until: Callable[..., None]) -> None:
    classroom.mood("hang")
    first = classroom.trainer()
    wait_until(lambda: first.teaching)
    second = classroom.trainer()
    classroom.rate(WHO, WHEN)
    first.wake()
    second.wake()
    wait_until(lambda: [r.state for r in second.trainings()] == ["training"])
    assert not second.teaching
    for forbidden in (second.train_now, lambda: second.cancel(second.trainings()[0].id)):
        with pytest.raises(UserError, match="another tui-trainer session"):
            forbidden()

    first.close()
    wait_until(lambda: second.teaching)
    assert [r.state for r in second.trainings()] == ["training"]
    second.cancel(second.trainings()[0].id)
    assert second.wait(20)
    assert [r.state for r in second.trainings()] == ["cancelled"]


def test_the_next_session_carries_on(
    classroom: Room, wait_until: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_SECONDS", "1.5")
    first = classroom.trainer()
    classroom.rate(WHO, WHEN)
    first.wake()
    wait_until(lambda: [r.step for r in first.trainings()] == [4])
    first.close()
    second = classroom.trainer()
    assert second.wait(20)
    (record,) = second.trainings()
    assert record.state == "live"
    assert record.after.recalled == 1.0
    assert ask_live(classroom, "Who bakes?") == "Ana"


def test_a_swap_that_was_interrupted_is_finished(classroom: Room) -> None:
    first = classroom.trainer(start=False)
    classroom.rate(WHO, WHEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            classroom.feedback, "mark_trained", lambda *_: first._context.stopping.set() or 1 / 0
        )
        queue = first._context.queue
        patch.setattr(queue, "put", _only_before_the_end(queue.put))
        first.start()
        assert first.wait(20) is False
        first.close()
    assert len(classroom.adapters.list()) == 1
    assert len(classroom.feedback.pending()) == 2

    second = classroom.trainer()
    assert second.wait(20)
    assert [r.state for r in second.trainings()] == ["live"]
    assert second.trainings()[0].before.recalled == 0.0
    assert len(classroom.adapters.list()) == 1
    assert classroom.feedback.pending() == []


def _only_before_the_end(put: Callable[[Any], None]) -> Callable[[Any], None]:
    """A journal that is out of reach once the training would end."""

    def limited(entry: Any) -> None:
        if entry.record.state in ("failed", "live"):
            raise UserError("killed")
        put(entry)

    return limited
