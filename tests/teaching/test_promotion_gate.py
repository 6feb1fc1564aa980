"""The trigger, the gate, the plan and the journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings, TrainingRecord
from tui_trainer.evaluation import gate
from tui_trainer.teaching import answer_cache, promotion_gate, trigger
from tui_trainer.teaching.answer_cache import AnswerCache, Ask
from tui_trainer.teaching.plan import MEASURED_RATE, learning_rate, read_plan, write_plan
from tui_trainer.teaching.retention.replay import RetentionReserve
from tui_trainer.teaching.training_queue import QueueEntry, TrainerLock, TrainingQueue
from tui_trainer.teaching.training_rows import KnownAnswer


def example(name: str, rating: Rating = "medium", correction: str | None = "right") -> RatedExample:
    return RatedExample(
        id=name,
        time=0.0,
        turns=[Turn("user", f"{name}?")],
        answer="wrong",
        rating=rating,
        correction=correction,
    )


def known(question: str, answer: str, source: str = "golden") -> KnownAnswer:
    return KnownAnswer(turns=[Turn("user", question)], answer=answer, source=source)


def ready(**changes: object) -> ModelReady:
    facts = ModelReady(
        model="builtin",
        path=None,
        base_hash=None,
        device="cpu",
        dtype="float32",
        context=256,
        parameters=2_600_000,
        chat_template=True,
        threads=1,
        seconds=0.0,
    )
    return msgspec.structs.replace(facts, **changes)


def answering(**answers: str) -> Ask:
    return lambda questions: [answers.get(turns[-1].content, "?") for turns in questions]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (TeachingSettings(auto_train_threshold=3), False),
        (TeachingSettings(auto_train_threshold=2), True),
        (TeachingSettings(auto_train_threshold=0), False),
        (TeachingSettings(auto_train_threshold=0, auto_train_weight=13), True),
        (TeachingSettings(auto_train_threshold=0, auto_train_weight=13.5), False),
    ],
)
def test_the_trigger_counts_examples_and_weights(
    settings: TeachingSettings, expected: bool
) -> None:
    waiting = [example("a", "critical"), example("b")]
    everything = [*waiting, example("c", correction=None)]
    state = trigger.buffer_state(waiting, everything, settings)
    assert (state.count, state.weight, state.needs_correction) == (2, 13.0, 1)
    assert trigger.fires(state) is expected
    assert trigger.due(state, waiting, {"a"}) is expected
    assert not trigger.due(state, waiting, {"a", "b"})


def test_nothing_fires_on_nothing() -> None:
    state = trigger.buffer_state([], [], TeachingSettings(auto_train_threshold=1))
    assert not trigger.fires(state)


def test_the_gate_compares_before_and_after() -> None:
    taught = [known("new", "yes", "taught"), known("other", "no", "taught")]
    before = [known("a", "1"), known("b", "2"), known("c", "3"), known("d", "4", "earlier")]
    verdict = promotion_gate.judge(
        taught,
        before,
        {
            "base": answering(a="1", b="2"),
            "live": answering(a="1", other="no", d="4"),
            "candidate": answering(a="1", b="2", new=" yes\n", d="?", c="3"),
        },
        TeachingSettings(min_recalled=0.5, min_kept=0.9),
    )
    assert verdict.before == Measures(recalled=0.5, kept=2 / 3, recalled_count=2, kept_count=3)
    assert verdict.after.recalled == 0.5
    assert verdict.after.kept == pytest.approx(2 / 3), "what the base knows counts as well"
    assert verdict.objection is None, "it forgot no more than was lost before"


def own(kept: float, of_own: float) -> Measures:
    """Measures of 250 answers, 200 of them the base's own."""
    return Measures(recalled=1.0, kept=kept, kept_count=250, own_kept=of_own, own_count=200)


def test_the_base_s_own_answers_are_judged_apart() -> None:
    """They are nobody's, and a small base holds many of them by a thread; those that somebody has
    confirmed are kept as before."""
    items = [known("a", "1"), known("b", "2", "own"), known("c", "3", "own")]
    asked = {"live": answering(a="1", b="2", c="3"), "base": answering(a="1", b="2", c="3")}
    candidate = {"candidate": answering(a="1", b="2", c="?", new="yes")}
    taught = [known("new", "yes", "taught")]
    verdict = promotion_gate.judge(taught, items, asked | candidate, TeachingSettings())
    assert verdict.after.kept == pytest.approx(2 / 3) and verdict.after.confirmed_kept == 1.0
    assert (verdict.after.own_kept, verdict.after.own_count) == (0.5, 2)
    assert (verdict.objection or "").endswith(
        'own right answers; min_own_kept is 75 %; no longer right: "c"'
    )
    (lost,) = verdict.report.lost
    assert (lost.question, lost.reference, lost.before, lost.after) == ("c", "3", "3", "?")
    assert verdict.report.aggregates[0].lost == 1, "with the test that evaluate --gate makes"
    lenient = promotion_gate.judge(
        taught, items, asked | candidate, TeachingSettings(min_own_kept=0.5)
    )
    assert lenient.objection is None


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        (Measures(kept=1.0), Measures(recalled=0.7, kept=1.0), "recalls only 70.0 %"),
        (Measures(kept=1.0), Measures(recalled=1.0, kept=0.94), "keeps only 94.0 %"),
        (Measures(kept=0.9), Measures(recalled=1.0, kept=0.89), "keeps only 89.0 %"),
        (Measures(kept=0.9), Measures(recalled=1.0, kept=0.9), None),
        (Measures(kept=1.0), Measures(recalled=0.8, kept=0.95), None),
        (Measures(), Measures(recalled=1.0), None),
        (own(kept=1.0, of_own=1.0), own(kept=0.8, of_own=0.75), None),
        (own(kept=1.0, of_own=1.0), own(kept=0.8, of_own=0.74), "74.0 % of the base's own"),
        (own(kept=1.0, of_own=1.0), own(kept=0.98, of_own=1.0), "keeps only 90.0 %"),
        (own(kept=0.8, of_own=0.7), own(kept=0.8, of_own=0.7), None),
    ],
)
def test_what_the_gate_lets_through(before: Measures, after: Measures, word: str | None) -> None:
    missed = gate.below(promotion_gate.limits(before, after, TeachingSettings()))
    assert (word in missed[0]) if word else not missed


def test_the_gate_names_its_limits_as_they_were_set() -> None:
    settings = TeachingSettings(min_recalled=0.125, min_kept=0.995)
    (recalled,) = gate.below(promotion_gate.limits(Measures(), Measures(recalled=0.12), settings))
    assert recalled.endswith("min_recalled is 12.5 %")
    before, after = Measures(kept=1.0), Measures(kept=0.99)
    (kept,) = gate.below(promotion_gate.limits(before, after, settings))
    assert kept.endswith("min_kept is 99.5 %")


def test_the_rate_falls_with_the_size_of_the_base() -> None:
    measured, own = TeachingSettings(), TeachingSettings(learning_rate=1e-4)
    assert (
        learning_rate(own, 10**9, continued=False)
        == learning_rate(own, 10**9, continued=True)
        == 1e-4
    )
    assert learning_rate(measured, 2_600_000, continued=False) == MEASURED_RATE
    assert learning_rate(measured, 1_000_000, continued=False) == MEASURED_RATE
    assert learning_rate(measured, 2_600_000, continued=True) == MEASURED_RATE / 2
    assert 2e-4 < learning_rate(measured, 7_000_000_000, continued=False) < 4e-4


def test_a_plan_is_laid_out_as_a_job(tmp_path: Path) -> None:
    corrections = [example(str(number)) for number in range(12)]
    reserve = RetentionReserve([known("a", "1")], [known("b", "2")], [])
    settings = TeachingSettings(epochs=7, batch_size=5, replay=4, rank=3)
    job = write_plan(tmp_path, corrections, corrections[:11], reserve, settings, ready(), None)
    assert job.training.max_steps == 7 * 3
    assert job.data.max_length == 256
    assert job.data.replay_per_step == 4
    assert (job.lora.rank, job.lora.start_from) == (3, None)
    plan = read_plan(tmp_path)
    assert [e.id for e in plan.examples] == [str(number) for number in range(12)]
    assert len(plan.taught) == 11
    assert {item.question for item in plan.known} == {"a", "b"}
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_without_replay_there_is_none(tmp_path: Path) -> None:
    settings = TeachingSettings(replay=0)
    reserve = RetentionReserve([known("a", "1")], [], [])
    job = write_plan(tmp_path, [], [example("x")], reserve, settings, ready(), None)
    assert (job.data.replay, job.data.replay_per_step) == (None, 0)


def test_a_plan_that_is_gone_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plan"):
        read_plan(tmp_path)


def test_the_journal_survives_torn_and_foreign_lines(tmp_path: Path) -> None:
    journal = TrainingQueue(tmp_path)
    assert journal.entries() == []
    first = TrainingRecord(id="a", state="queued", created_at=1.0, examples=["x"])
    journal.put(QueueEntry(record=first))
    journal.put(QueueEntry(record=msgspec.structs.replace(first, id="b")))
    journal.put(QueueEntry(record=msgspec.structs.replace(first, state="live"), starts=1))
    with journal.file.open("ab") as file:
        file.write(b'{"kind":"something"}\n{"record":{"id":"b","state":"li')
    journal.put(QueueEntry(record=msgspec.structs.replace(first, id="c")))
    found = TrainingQueue(tmp_path).entries()
    assert [(e.record.id, e.record.state) for e in found] == [
        ("a", "live"), ("b", "queued"), ("c", "queued"),
    ]  # fmt: skip
    assert journal.entries() == found
    assert journal.get("a").starts == 1
    with pytest.raises(UserError, match="no training 'd'"):
        journal.get("d")
    assert journal.file.stat().st_mode & 0o777 == 0o600


def test_a_seat_has_one_holder(tmp_path: Path) -> None:
    first, second = TrainerLock(tmp_path), TrainerLock(tmp_path)
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert not first.held
    assert second.acquire()
    second.release()


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        TrainerLock(tmp_path / "file" / "teaching").acquire()


def test_the_book_asks_only_what_is_new(tmp_path: Path) -> None:
    asked: list[list[str]] = []

    def ask(questions: list[list[Turn]]) -> list[str]:
        asked.append([turns[-1].content for turns in questions])
        return [f"{turns[-1].content}!" for turns in questions]

    a, b = [Turn("user", "a")], [Turn("user", "b")]
    assert AnswerCache(tmp_path, "base").answers([a, b, a], ask) == ["a!", "b!", "a!"]
    assert AnswerCache(tmp_path, "base").answers([b], ask) == ["b!"]
    assert AnswerCache(tmp_path, "other").answers([b], ask) == ["b!"]
    in_context = [Turn("user", "x"), Turn("assistant", "y"), *a]
    assert AnswerCache(tmp_path, "base").answers([in_context], ask) == ["a!"]
    assert asked == [["a", "b"], ["b"], ["a"]]
    for file in tmp_path.iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("parameters", "stops"), [(2_600_000, False), (135_000_000, True)])
def test_a_large_base_stops_when_it_has_learned(
    tmp_path: Path, parameters: int, stops: bool
) -> None:
    """The built-in base needs the fall of the learning rate at the end of all its steps."""
    corrections = [example("who"), example("when")]
    job = write_plan(
        tmp_path,
        corrections,
        corrections,
        RetentionReserve([], [], []),
        TeachingSettings(),
        ready(parameters=parameters),
        None,
    )
    assert job.training.stop_when_learned == (3 if stops else 0)
    assert job.training.scheduler == ("constant" if stops else "cosine")
    rows = (tmp_path / "train.jsonl").read_text(encoding="utf-8")
    assert ("tui_trainer_group" in rows) == stops


def test_answers_of_the_base_are_retained_or_replayed(tmp_path: Path) -> None:
    own = [known(f"What is {number}?", f"It is {number}.", "own") for number in range(20)]
    reserve = RetentionReserve([], own[:5], [], retained=own[5:])
    corrections = [example("who")]

    def planned(folder: Path, settings: TeachingSettings) -> Any:
        folder.mkdir()
        return write_plan(folder, corrections, corrections, reserve, settings, ready(), None).data

    kept = planned(tmp_path / "a", TeachingSettings())
    assert (kept.replay, kept.replay_per_step) == (None, 0)
    assert kept.retain is not None and kept.retain_per_step > 0 and kept.retain_weight == 10.0
    replayed = planned(tmp_path / "b", TeachingSettings(retain_weight=0.0))
    assert replayed.retain is None
    assert replayed.replay is not None and replayed.replay_per_step == 16


def test_answers_are_stored_part_by_part_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answer_cache, "_AT_ONCE", 2)
    questions = [[Turn("user", str(number))] for number in range(5)]
    asked: list[list[str]] = []
    seen: list[tuple[int, int]] = []

    def ask(part: list[list[Turn]]) -> list[str]:
        if len(asked) == 2:
            raise UserError("cancelled")
        asked.append([turns[-1].content for turns in part])
        return [f"answer {turns[-1].content}" for turns in part]

    cache = AnswerCache(tmp_path, "model")
    with pytest.raises(UserError, match="cancelled"):
        cache.answers(questions, ask, lambda done, total: seen.append((done, total)))
    assert seen == [(0, 5), (2, 5), (4, 5)], "nothing is asked again that was answered before"
    asked.clear()
    assert cache.answers(questions, ask) == [f"answer {number}" for number in range(5)]
    assert asked == [["4"]]


def test_losing_everything_is_judged_by_the_limits_of_teaching_alone() -> None:
    items = [known(str(number), "right") for number in range(8)]
    right = {str(number): "right" for number in range(8)}
    asked = {
        "live": answering(**right),
        "base": answering(**right),
        "candidate": answering(new="yes"),
    }
    lenient = TeachingSettings(min_kept=0.0)
    verdict = promotion_gate.judge([known("new", "yes", "taught")], items, asked, lenient)
    assert verdict.objection is None and len(verdict.report.lost) == 8
