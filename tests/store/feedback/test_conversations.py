"""Conversations and the input history survive a restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store import paths
from tui_trainer.store.feedback.conversations import ConversationStore

QUESTION, ANSWER = Turn("user", "What?"), Turn("assistant", "That.")


def test_a_conversation_is_carried_on_after_a_restart() -> None:
    first = ConversationStore()
    assert first.turns() == []
    first.append(QUESTION)
    first.append(ANSWER, adapter="mine")
    second = ConversationStore()
    assert second.turns() == [QUESTION, ANSWER]
    assert second.turns(1) == [ANSWER]
    assert second.turns(0) == []
    assert second.recorded()[-1].adapter == "mine"
    assert second.folder == paths.home() / "conversations"


def test_a_new_conversation_leaves_the_old_one_on_disk() -> None:
    store = ConversationStore()
    store.append(QUESTION)
    old = store.file
    store.new()
    assert store.turns() == []
    assert old.exists()
    assert ConversationStore().turns() == [], "the new one is carried on even while it is empty"
    store.append(ANSWER)
    assert ConversationStore().turns() == [ANSWER]


def test_which_feedback_rates_the_last_answer_is_remembered() -> None:
    store = ConversationStore()
    store.append(QUESTION)
    store.append(ANSWER, cancelled=True)
    store.rated("bcdfg")
    last = ConversationStore().recorded()[-1]
    assert (last.example, last.cancelled) == ("bcdfg", True)
    store.rated(None)
    assert ConversationStore().recorded()[-1].example is None


def test_the_last_exchange_can_be_removed() -> None:
    store = ConversationStore()
    for turn in (QUESTION, ANSWER, Turn("user", "Why?"), Turn("assistant", "So.")):
        store.append(turn)
    store.rated("bcdfg")
    store.remove_last()
    assert store.turns() == ConversationStore().turns() == [QUESTION, ANSWER]
    assert store.recorded()[-1].example is None
    store.append(Turn("user", "Who?"))
    assert [turn.content for turn in ConversationStore().turns()] == ["What?", "That.", "Who?"]


def test_a_system_prompt_belongs_to_its_conversation() -> None:
    store = ConversationStore()
    assert store.system == ""
    store.append(QUESTION)
    store.set_system("Be brief.")
    store.set_system("Be kind.")
    assert store.system == ConversationStore().system == "Be kind."
    assert store.turns() == [QUESTION]
    store.new()
    assert store.system == ""
    store.set_system("")
    assert ConversationStore().system == ""


def test_unreadable_lines_and_an_incomplete_end_are_left_out() -> None:
    store = ConversationStore()
    store.append(QUESTION)
    with store.file.open("ab") as file:
        file.write(b'\xff\xfe\n{"kind":"turn","time":1,"ro')
    again = ConversationStore()
    assert again.turns() == [QUESTION]
    again.append(ANSWER)
    assert ConversationStore().turns() == [QUESTION, ANSWER]


@pytest.mark.parametrize("pointer", [b"../../etc/passwd", b"\xff", b"", b"gone.jsonl"])
def test_a_broken_pointer_starts_a_new_conversation(pointer: bytes) -> None:
    store = ConversationStore()
    store.append(QUESTION)
    (store.folder / "current").write_bytes(pointer)
    again = ConversationStore()
    assert again.turns() == []
    assert again.file.parent == store.folder


def test_conversations_are_readable_by_the_user_only() -> None:
    store = ConversationStore()
    store.append(QUESTION)
    store.remember("hello")
    modes = {path.name: path.stat().st_mode & 0o777 for path in store.folder.iterdir()}
    assert set(modes.values()) == {0o600}
    assert store.folder.stat().st_mode & 0o777 == 0o700


def test_the_history_has_no_consecutive_duplicates() -> None:
    store = ConversationStore()
    for line in ("one", "two", "two", " ", "one"):
        store.remember(line)
    assert ConversationStore().history() == ["one", "two", "one"]
    assert ConversationStore().history(2) == ["two", "one"]


@given(text=st.text(min_size=1))
def test_any_text_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.mktemp("said")
    store = ConversationStore(folder)
    store.append(Turn("user", text))
    store.remember(f"x{text}")
    assert ConversationStore(folder).turns() == [Turn("user", text)]
    assert ConversationStore(folder).history() == [f"x{text}"]


def test_a_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ConversationStore(tmp_path / "file")
    with pytest.raises(UserError, match="cannot be written: File exists"):
        store.append(QUESTION)
