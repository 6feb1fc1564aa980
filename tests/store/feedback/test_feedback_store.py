"""Feedback: nothing acknowledged is lost, and what is folded is what was said."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.store import paths
from tui_trainer.store.feedback.feedback_store import FeedbackStore


def example(question: str = "What?", **changes: Any) -> RatedExample:
    values = {"id": "", "time": 0.0, "turns": [Turn("user", question)], "answer": "Bad."}
    return RatedExample(**{**values, "rating": "medium", **changes})


def test_an_example_is_there_after_a_restart() -> None:
    stored = FeedbackStore().add(example(note="too short", flags=["password"]))
    assert stored.id
    assert stored.time > 0
    assert FeedbackStore().examples() == [stored]
    assert FeedbackStore().folder == paths.home() / "feedback"


def test_it_is_for_the_user_alone() -> None:
    store = FeedbackStore()
    store.add(example())
    assert store.folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.folder.iterdir()} == {0o600}


def test_a_bad_answer_is_pending_only_with_a_correction() -> None:
    store = FeedbackStore()
    bad, good = store.add(example()), store.add(example(rating="good", answer="Right."))
    assert store.pending() == [good]
    assert store.get(bad.id).needs_correction
    corrected = store.edit(bad.id, correction="Right.", note="why", rating="critical")
    assert (corrected.right_answer, corrected.note, corrected.weight) == ("Right.", "why", 10.0)
    assert store.pending() == [corrected, good]
    assert store.edit(bad.id, flags=["password"]).flags == ["password"]


def test_examples_are_found_by_id_and_by_number() -> None:
    store = FeedbackStore()
    with pytest.raises(UserError, match="nothing is rated yet"):
        store.get("1")
    first, second = store.add(example("one")), store.add(example("two"))
    assert (store.get("1"), store.get(2), store.get(second.id)) == (first, second, second)
    assert store.number(second.id) == 2
    for wrong in ("0", "3", "-1", "²"):
        with pytest.raises(UserError, match="there is no feedback"):
            store.get(wrong)
    store.drop("1")
    assert store.get(2) == second, "numbers stay as they were listed"


def test_what_was_dropped_is_not_taught_and_not_changed() -> None:
    store = FeedbackStore()
    good = store.add(example(rating="good"))
    assert store.drop(good.id).dropped
    assert store.pending() == []
    with pytest.raises(UserError, match="is dropped"):
        store.drop(good.id)
    with pytest.raises(UserError, match="is dropped"):
        store.edit(good.id, note="x")


def test_purge_removes_the_text_of_dropped_examples() -> None:
    store = FeedbackStore()
    secret, kept = store.add(example("my password is hunter2")), store.add(example("kept"))
    store.edit(secret.id, correction="hunter2 it is")
    store.mark_trained([secret.id], "a")
    store.drop(secret.id)
    assert b"hunter2" in store.file.read_bytes()
    assert store.purge() == 1
    assert b"hunter2" not in store.file.read_bytes()
    assert store.examples() == FeedbackStore().examples() == [kept]
    assert store.purge() == 0


def test_marking_as_trained_is_done_once() -> None:
    store = FeedbackStore()
    good = store.add(example(rating="good"))
    assert store.mark_trained([good.id, "nobody"], "first") == [good.id]
    before = store.file.read_bytes()
    assert store.mark_trained([good.id], "second") == []
    assert store.file.read_bytes() == before
    assert store.get(good.id).trained_in == "first"
    assert store.pending() == []


def test_an_answer_corrected_while_it_was_learned_stays_pending() -> None:
    store = FeedbackStore()
    taught = store.add(example(correction="Paris"))
    store.edit(taught.id, correction="Rome")
    assert store.mark_trained([taught], "a") == []
    assert store.get(taught.id).pending
    assert store.mark_trained([store.get(taught.id)], "a") == [taught.id]


def test_a_learned_answer_that_is_corrected_again_is_learned_again() -> None:
    store = FeedbackStore()
    taught = store.add(example(correction="Paris"))
    store.mark_trained([taught], "a")
    assert store.edit(taught.id, note="only a note").trained_in == "a"
    assert store.edit(taught.id, correction="Rome").pending


@pytest.mark.parametrize("correction", ["", "  \n"])
def test_an_empty_correction_is_refused(correction: str) -> None:
    store = FeedbackStore()
    bad = store.add(example())
    with pytest.raises(UserError, match="the correction is empty"):
        store.edit(bad.id, correction=correction)


def test_unreadable_lines_are_kept_and_counted() -> None:
    store = FeedbackStore()
    first = store.add(example("one"))
    with store.file.open("ab") as file:
        file.write(b'\xff\n\n{"kind":"unheard","time":1}\n{"kind":"add","time":2,"exam')
    assert store.examples() == [first]
    assert store.unreadable == 2, "a line that is just being written is not odd yet"
    second = store.add(example("two"))
    assert store.examples() == [first, second]
    assert store.unreadable == 3
    store.drop(second.id)
    store.purge()
    assert b"\xff\n" in store.file.read_bytes()


def test_two_stores_see_each_others_feedback() -> None:
    one, two = FeedbackStore(), FeedbackStore()
    first = one.add(example("one"))
    second = two.add(example("two"))
    assert one.examples() == two.examples() == [first, second]
    two.drop(1)
    assert one.get(first.id).dropped


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written: File exists"):
        FeedbackStore(tmp_path / "file").add(example())


def test_a_journal_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "feedback.jsonl").mkdir()
    with pytest.raises(UserError, match="cannot be read: a folder, not a file"):
        FeedbackStore(tmp_path).examples()


actions = st.lists(
    st.tuples(st.sampled_from(["add", "fix", "rate", "drop", "train"]), st.integers(0, 4)),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(actions)
def test_what_is_read_again_is_what_was_returned(
    tmp_path_factory: pytest.TempPathFactory, doings: list[tuple[str, int]]
) -> None:
    folder = tmp_path_factory.mktemp("feedback")
    store, expected = FeedbackStore(folder), dict[str, RatedExample]()
    for what, which in doings:
        if what == "add":
            stored = store.add(example(str(which)))
        elif which >= len(expected) or list(expected.values())[which].dropped:
            continue
        elif what == "fix":
            stored = store.edit(which + 1, correction=f"answer {which}")
        elif what == "rate":
            stored = store.edit(which + 1, rating="good")
        elif what == "drop":
            stored = store.drop(which + 1)
        else:
            store.mark_trained([list(expected)[which]], "a")
            stored = store.get(which + 1)
        expected[stored.id] = stored
    assert FeedbackStore(folder).examples() == store.examples() == list(expected.values())


def test_several_threads_may_write() -> None:
    store = FeedbackStore()

    def write(name: int) -> None:
        for _ in range(5):
            store.add(example(str(name)))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(FeedbackStore().examples()) == 20


WRITER = """
import sys
from pathlib import Path
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.store.feedback.feedback_store import FeedbackStore
store = FeedbackStore(Path(sys.argv[1]))
print("ready", flush=True)
while True:
    turns = [Turn("user", "x" * 300)]
    example = RatedExample(id="", time=0.0, turns=turns, answer="a", rating="good")
    print("added", store.add(example).id, flush=True)
    last = store.examples()[-1].id
    store.edit(last, correction="right")
    print("fixed", last, flush=True)
    store.mark_trained([last], "adapter")
    print("trained", last, flush=True)
"""


@pytest.mark.slow
def test_twenty_kills_lose_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    folder, chance = tmp_path / "feedback", random.Random(7)
    acknowledged: list[tuple[str, str]] = []
    for _ in range(20):
        # Two writers at a time, so that a kill also falls between them.
        writers = [
            subprocess.Popen(
                [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, text=True
            )
            for _ in range(1 + chance.randrange(2))
        ]
        for writer in writers:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "ready\n"
            for _ in range(chance.randrange(12)):
                acknowledged.append(_word(writer.stdout.readline()))
            writer.send_signal(signal.SIGKILL)
            acknowledged += [_word(line) for line in writer.stdout if line.endswith("\n")]
            writer.wait()
    store = FeedbackStore(folder)
    known = {stored.id: stored for stored in store.examples()}
    assert len(acknowledged) > 100
    for what, example_id in acknowledged:
        assert example_id in known
        assert what == "added" or known[example_id].correction == "right"
        assert what != "trained" or known[example_id].trained_in == "adapter"
    assert len({stored.id for stored in known.values()}) == len(known)
    store.add(example())
    assert store.unreadable <= 40, "a kill spoils its own line at most"


def _word(line: str) -> tuple[str, str]:
    what, example_id = line.split()
    return what, example_id
