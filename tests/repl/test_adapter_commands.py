"""Adapters from within a session."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tui_trainer.contracts.chat import session as events
from tui_trainer.store.adapters import adapter_files

if TYPE_CHECKING:
    from tests.repl.conftest import Room


def test_adapters_are_listed_with_the_active_ones(room: Room) -> None:
    room.do("/adapters")
    assert "no adapters yet" in room.notices()
    room.add_adapter("one")
    room.add_adapter("two", created_at=2.0)
    room.do("/adapters load two", "What?", "/adapters list")
    table = room.last(events.TextTable)
    rows = [dict(zip(table.headers, row, strict=True)) for row in table.rows]
    assert [(r["NAME"], r["ACTIVE"], r["QUERIES"]) for r in rows] == [
        ("one", "", "0"),
        ("two", "1", "1"),
    ]
    assert (rows[0]["RECALLED"], rows[0]["KEPT"]) == ("100 %", "99.6 %")
    room.do("/adapters show two")
    facts = {row[0]: row[1] for row in room.last(events.TextTable).rows}
    assert (facts["problem"], facts["recalled"]) == ("none", "100 % of 3")


def test_loading_and_unloading(room: Room) -> None:
    room.add_adapter("mine")
    room.do("/adapters load mine")
    assert room.last(events.AdaptersActivated).adapters == room.client.live == {"mine": 1.0}
    room.do("/adapters unload")
    assert (
        room.last(events.AdaptersActivated).adapters == room.client.live == room.session.live == {}
    )


def test_description_and_tags_are_changed_and_the_list_is_filtered(room: Room) -> None:
    room.add_adapter("one")
    room.add_adapter("two", created_at=2.0)
    room.do('/adapters edit two --description "capitals of Europe" --tag geography --tag draft')
    assert "description capitals of Europe; tags geography, draft" in room.notices()
    room.do("/adapters edit two --untag draft", "/adapters list tag:geography recalled>0.5")
    (row,) = room.last(events.TextTable).rows
    assert row[0] == "two"
    room.do("/adapters list tag:draft")
    assert "no match among 2 adapters" in room.notices()
    room.do("/adapters show two")
    facts = {row[0]: row[1] for row in room.last(events.TextTable).rows}
    assert (facts["description"], facts["tags"]) == ("capitals of Europe", "geography")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("/adapters edit one", "/adapters edit NAME"),
        ("/adapters edit one --tag", "/adapters edit NAME"),
        ("/adapters edit one --title x", "/adapters edit NAME"),
        ("/adapters edit one --description 'open", "/adapters edit NAME"),
        ("/adapters edit other --tag x", "other"),
        ("/adapters list tg:x", "tag"),
    ],
)
def test_a_wrong_edit_is_one_sentence(room: Room, line: str, message: str) -> None:
    room.add_adapter("one")
    assert message in room.refused(line)


def test_an_unusable_adapter_is_refused_and_nothing_changes(room: Room) -> None:
    room.add_adapter("mine")
    room.do("/adapters load mine")
    (room.add_adapter("broken") / adapter_files.WEIGHTS).write_bytes(b"")
    room.add_adapter("foreign", base_model="/models/other")
    assert "has changed since it was saved" in room.refused("/adapters load broken")
    assert "made for /models/other" in room.refused("/adapters load foreign")
    assert "did you mean 'mine'" in room.refused("/adapters load min")
    room.client.refuses = "its weights are not finite"
    assert room.refused("/adapters load mine") == "its weights are not finite"
    assert room.client.live == room.session.live == {"mine": 1.0}


def test_an_ensemble_answers_with_its_weights(room: Room) -> None:
    room.add_adapter("a")
    room.add_adapter("b")
    room.do("/ensemble a=0.7 b=-0.3", "What?")
    assert room.client.live == {"a": 0.7, "b": -0.3}
    assert room.last(events.Answered).adapter == "a=0.7 b=-0.3"
    assert [item.queries for item in room.adapters.list()] == [1, 1]


@pytest.mark.parametrize("line", ["", "a", "a=", "=1", "a=x", "a=1 a=2"])
def test_an_ensemble_needs_names_and_weights(room: Room, line: str) -> None:
    room.add_adapter("a")
    assert "usage: /ensemble A=0.7 B=0.3" in room.refused(f"/ensemble {line}")


def test_deleting_asks_first_and_can_be_undone(room: Room) -> None:
    room.add_adapter("mine")
    room.do("/adapters load mine", "/adapters delete mine")
    assert "it is active now" in room.last(events.Confirm).text
    room.do("/no", "/adapters delete mine", "What?")
    assert room.refused("/yes") == "there is nothing to confirm", "asking something else is no yes"
    room.do("/adapters delete mine", "/yes")
    assert (room.adapters.list(), room.client.live) == ([], {})
    room.do("/adapters trash")
    assert room.last(events.TextTable).rows[0][0] == "mine"
    room.do("/adapters restore mine")
    assert [item.info.name for item in room.adapters.list()] == ["mine"]
    room.do("/adapters trash")
    assert "the trash is empty" in room.notices()
    assert "no adapter 'nobody'" in room.refused("/adapters delete nobody")


def test_a_live_adapter_keeps_answering_under_its_new_name(room: Room) -> None:
    room.add_adapter("old")
    room.do("/adapters load old", "/adapters rename old new")
    assert room.client.live == room.session.live == {"new": 1.0}
    assert "has a dot" in room.refused("/adapters rename new a.b")
    assert "folder's name" in room.refused("/adapters rename new ../up")


def test_two_are_compared_by_size_measure_and_answers(room: Room) -> None:
    room.add_adapter("a")
    room.add_adapter("b")
    room.do("/adapters compare a b")
    assert "no question was asked yet" in room.notices()
    room.do("one?", "/good", "two?", "/adapters compare a b")
    sizes, measures, answers = [e for e in room.events if isinstance(e, events.TextTable)]
    assert sizes.rows == [
        ["q_proj", "1.5", "2.5", "3", "–"],
        ["all layers", "1.5", "2.5", "3", "0.5"],
    ]
    assert measures.rows[0] == ["recalled", "100 %", "100 %"]
    assert answers.headers == ["QUESTION", "a", "b"]
    assert answers.rows == [
        ["one?", "one? by a", "one? by b"],
        ["two?", "two? by a", "two? by b"],
    ]
    room.client.during = room.session.cancel
    assert room.refused("/adapters compare a b") == "cancelled"


def test_merging_into_a_folder_whose_name_has_spaces(room: Room, tmp_path: Path) -> None:
    folder = room.add_adapter("mine")
    out = tmp_path / "a merged model"
    room.do(f"/adapters merge mine {out}")
    assert room.client.merged == [(folder, out)]
    assert "writing" in room.notices()
    assert str(out) in room.notices()


def test_an_adapter_is_exported_as_folder_and_archive(room: Room, tmp_path: Path) -> None:
    room.add_adapter("mine")
    out, packed = tmp_path / "out", tmp_path / "mine.tar.gz"
    room.do(f"/adapters export mine {out}", f"/adapters export mine {packed}")
    names = {adapter_files.WEIGHTS, adapter_files.CONFIG, adapter_files.INFO}
    assert {p.name for p in out.iterdir()} == names
    with tarfile.open(packed) as archive:
        assert set(archive.getnames()) == {"mine", *(f"mine/{name}" for name in names)}
    assert "already exists" in room.refused(f"/adapters export mine {packed}")
    room.do(f"/adapters export mine {tmp_path}")
    assert (tmp_path / "mine" / adapter_files.WEIGHTS).is_file()
    assert {p.name for p in tmp_path.iterdir()} == {"out", "mine", "mine.tar.gz"}


@pytest.mark.parametrize("line", ["laod x", "load", "load a b", "compare a", "merge a", "unload x"])
def test_a_wrong_command_shows_its_usage(room: Room, line: str) -> None:
    refusal = room.refused(f"/adapters {line}")
    assert "usage: /adapters [list [CONDITIONS]], /adapters show NAME, " in refusal


def test_an_adapter_from_elsewhere_is_added(room: Room, tmp_path: Path) -> None:
    room.add_adapter("mine")
    room.do(
        f"/adapters export mine {tmp_path / 'out'}", f"/adapters add '{tmp_path / 'out'}' again"
    )
    assert "/adapters load again" in room.notices()
    room.do("/adapters load again")
    assert room.client.live == {"again": 1.0}
