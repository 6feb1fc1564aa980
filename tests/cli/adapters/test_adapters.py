"""`tui-trainer adapters`: over the store, mostly without a model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.repl.conftest import FakeClient, Room
from tui_trainer.cli import main
from tui_trainer.cli.adapters import compare, merge
from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store import atomic
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.runs import evaluation_files

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def store() -> AdapterStore:
    """Two adapters for the built-in base and one for another."""
    room = Room()
    room.add_adapter("one")
    room.add_adapter("two", created_at=2.0)
    room.add_adapter("other", created_at=3.0, base_model="/models/other")
    return room.adapters


def done(capsys: Capture, *arguments: str) -> tuple[str, str]:
    assert main.main(["adapters", *arguments]) == 0
    return capsys.readouterr()


def refused(capsys: Capture, *arguments: str) -> str:
    assert main.main(["adapters", *arguments]) in (1, 2)
    text = capsys.readouterr().err
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_the_list_shows_the_active_adapters(store: AdapterStore, capsys: Capture) -> None:
    done(capsys, "load", "one=0.7", "two=0.3")
    done(capsys, "load", "other")
    header, *rows = done(capsys, "list")[0].splitlines()
    assert header.split()[:3] == ["NAME", "ACTIVE", "BASE"]
    assert [row.split()[:2] for row in rows] == [["one", "0.7"], ["two", "0.3"], ["other", "1"]]
    listed = json.loads(done(capsys, "list", "--json")[0])
    assert [(item["name"], item["live"]) for item in listed] == [
        ("one", 0.7),
        ("two", 0.3),
        ("other", 1.0),
    ]
    assert listed[0]["path"] == str(store.root / "one")
    done(capsys, "unload")
    assert (store.live(), store.live("/models/other")) == ({}, {"other": 1.0})


def test_an_empty_store_shows_how_to_create_the_first_adapter(capsys: Capture) -> None:
    assert done(capsys, "list") == (
        "",
        "no adapters yet; create one with tui-trainer repl, then /fix TEXT and /train\n",
    )
    assert done(capsys, "list", "--json")[0] == "[]\n"
    assert done(capsys, "list", "--trash")[1] == "the trash is empty\n"


def test_show_has_the_problems(store: AdapterStore, capsys: Capture) -> None:
    assert json.loads(done(capsys, "show", "one", "--json")[0])["problem"] is None
    (store.root / "one" / adapter_files.WEIGHTS).write_bytes(b"")
    assert "has changed since it was saved" in done(capsys, "show", "one")[0]
    assert "has changed since it was saved" in refused(capsys, "load", "one")
    assert "has changed since it was saved" in refused(capsys, "export", "one", "out")
    assert "did you mean 'two'" in refused(capsys, "show", "tow")


def test_only_adapters_of_one_base_answer_together(store: AdapterStore, capsys: Capture) -> None:
    assert "'other' belongs to the base /models/other" in refused(capsys, "load", "one", "other")
    assert "is not NAME or NAME=WEIGHT" in refused(capsys, "load", "one=x")
    assert store.live() == {}


def test_rename_delete_restore_and_purge(store: AdapterStore, capsys: Capture) -> None:
    done(capsys, "rename", "one", "first")
    assert "confirm with --yes" in refused(capsys, "delete", "first")
    done(capsys, "delete", "first", "--yes")
    assert json.loads(done(capsys, "list", "--trash", "--json")[0])[0]["name"] == "first"
    assert "first" in done(capsys, "list", "--trash")[0]
    assert done(capsys, "restore", "first")[0] == "first\n"
    done(capsys, "delete", "first", "--yes")
    assert "1 adapter is deleted permanently" in done(capsys, "purge", "--yes")[1]
    assert "it is empty" in refused(capsys, "restore", "first")
    assert "no adapter 'first'" in refused(capsys, "delete", "first", "--yes")


def test_export(store: AdapterStore, capsys: Capture, tmp_path: Path) -> None:
    out = tmp_path / "out.tar"
    assert done(capsys, "export", "one", str(out))[0] == f"{out}\n"
    assert out.is_file()
    assert "already exists" in refused(capsys, "export", "one", str(out))


def test_compare_and_merge_ask_the_model(
    store: AdapterStore,
    capsys: Capture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = Room().client
    for module in (compare, merge):
        monkeypatch.setattr(module, "open_client", lambda info: _Opened(client, info))
    text = done(capsys, "compare", "one", "two", "--ask", "What?")[0]
    assert ["q_proj", "1.5", "2.5", "3", "–"] in [line.split() for line in text.splitlines()]
    assert "What?     What? by one  What? by two" in text
    found = json.loads(done(capsys, "compare", "one", "two", "--ask", "What?", "--json")[0])
    assert found["answers"] == [{"question": "What?", "a": "What? by one", "b": "What? by two"}]
    assert found["comparison"]["whole"]["difference"] == 3.0
    out = tmp_path / "merged"
    assert done(capsys, "merge", "one", str(out))[0] == f"{out}\n"
    assert client.merged == [(store.root / "one", out)]


class _Opened:
    def __init__(self, client: FakeClient, info: AdapterInfo) -> None:
        assert info.base_model == "builtin"
        self._client = client

    def __enter__(self) -> FakeClient:
        return self._client

    def __exit__(self, *_: object) -> None:
        pass


SCRIPT = """
import sys
from tui_trainer.cli.main import main
status = main(sys.argv[1:])
heavy = ("torch", "transformers", "peft", "textual")
print("LOADED", *[name for name in heavy if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [["adapters", "list"], ["repl", "--help"]])
def test_nothing_heavy_is_loaded(arguments: list[str]) -> None:
    done: Any = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "LOADED"


def test_an_adapter_from_elsewhere_is_added(
    store: AdapterStore, capsys: Capture, tmp_path: Path
) -> None:
    done(capsys, "export", "one", str(tmp_path / "out"))
    assert done(capsys, "add", str(tmp_path / "out"), "--name", "again")[0] == "again\n"
    assert store.problem("again") is None
    assert "is not a folder" in refused(capsys, "add", str(tmp_path / "absent"))


def test_edit_changes_description_and_tags(store: AdapterStore, capsys: Capture) -> None:
    done(capsys, "edit", "one", "--description", "capitals\nof  Europe", "--tag", "a", "--tag", "b")
    text = done(capsys, "edit", "one", "--untag", "a", "--tag", "c/2")[1]
    assert "capitals of Europe" in text and "b, c/2" in text
    shown = done(capsys, "show", "one")[0]
    assert "capitals of Europe" in shown and "b, c/2" in shown
    document = json.loads(done(capsys, "show", "one", "--json")[0])
    assert (document["description"], document["tags"]) == ("capitals of Europe", ["b", "c/2"])
    assert "has no tag 'x'" in refused(capsys, "edit", "one", "--untag", "x")
    assert "cannot be a tag" in refused(capsys, "edit", "one", "--tag", "two words")
    assert "--description, --tag or --untag" in refused(capsys, "edit", "one")
    done(capsys, "rename", "one", "uno")
    done(capsys, "edit", "uno", "--description", "")
    assert store.get("uno").description == "" and store.get("uno").tags == ["b", "c/2"]
    assert store.problem("uno") is None


def test_the_list_is_filtered_and_sorted_as_that_of_runs(
    store: AdapterStore, capsys: Capture
) -> None:
    done(capsys, "edit", "two", "--tag", "mine")
    listed = json.loads(done(capsys, "list", "--filter", "tag:mine", "--json")[0])
    assert [item["name"] for item in listed] == ["two"]
    listed = json.loads(done(capsys, "list", "--sort", "-name", "--json")[0])
    assert [item["name"] for item in listed] == ["two", "other", "one"]
    assert "no match among 3 adapters" in done(capsys, "list", "--filter", "nothing")[1]
    assert "did you mean" in refused(capsys, "list", "--filter", "tga:mine")
    assert "there is no field" in refused(capsys, "list", "--sort", "nonsense")
    assert "cannot be combined" in refused(capsys, "list", "--trash", "--sort", "name")


def test_show_says_whether_the_adapter_is_active(store: AdapterStore, capsys: Capture) -> None:
    done(capsys, "load", "one=0.5")
    assert "yes, weight 0.5" in done(capsys, "show", "one")[0]


def evaluated(store: AdapterStore, name: str, f1: float) -> None:
    """An adapter gets an evaluation on a file."""
    folder = store.root / name / evaluation_files.FOLDER
    folder.mkdir()
    scores = EvaluationScores(
        name="test", time=10.0, files=["data/test.jsonl"], data_hash="d", rows=2,
        metrics={"loss": 1.5, "f1_macro": f1},
    )  # fmt: skip
    atomic.write_json(folder / "test.json", scores)


def test_a_report_that_cannot_be_read_is_named_once(store: AdapterStore, capsys: Capture) -> None:
    evaluated(store, "one", 0.9)
    (store.root / "one" / evaluation_files.FOLDER / "torn.json").write_text('{"name": "to')
    shown = " ".join(done(capsys, "show", "one")[0].split())
    assert shown.count("evaluations/torn.json cannot be read as a report") == 1
    facts = json.loads(done(capsys, "show", "one", "--json")[0])
    assert facts["unreadable_evaluations"] == ["torn.json"] and len(facts["evaluations"]) == 1
    assert "warning" not in done(capsys, "show", "two")[0]


def test_the_scores_of_evaluations_are_shown_and_filter_and_sort_the_list(
    store: AdapterStore, capsys: Capture
) -> None:
    size = store.entry("one").size
    evaluated(store, "one", 0.9)
    evaluated(store, "two", 0.5)
    assert store.entry("one").size == size, "evaluations are no part of an adapter's size"
    shown = done(capsys, "show", "one")[0]
    assert "test: loss 1.500, f1_macro 0.900 (2 rows of test.jsonl, " in shown
    facts = json.loads(done(capsys, "show", "one", "--json")[0])
    assert facts["evaluations"][0]["metrics"] == {"loss": 1.5, "f1_macro": 0.9}
    for condition in ("f1>0.8", "macro_f1>0.8", "f1_macro>0.8", "test.f1_macro>0.8"):
        listed = json.loads(done(capsys, "list", "--filter", condition, "--json")[0])
        assert [item["name"] for item in listed] == ["one"], condition
    listed = json.loads(done(capsys, "list", "--sort", "f1", "--json")[0])
    assert [item["name"] for item in listed] == ["one", "two", "other"], "the best first"
    listed = json.loads(done(capsys, "list", "--sort", "-f1", "--json")[0])
    assert [item["name"] for item in listed] == ["two", "one", "other"]
    done(capsys, "rename", "one", "first")
    assert [scores.name for scores in store.entry("first").evaluations] == ["test"]
