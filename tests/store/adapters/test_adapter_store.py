"""Adapters on disk: whole or not there, refused with the reason, live across restarts."""

from __future__ import annotations

import json
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.adapter import AdapterInfo, Measures
from tui_trainer.store import paths
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.adapter_store import AdapterStore

CONFIG = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}


def write_weights(file: Path, header: Any = None, body: bytes = b"\0" * 24) -> None:
    """A safetensors file of two tensors, or with the given header."""
    if header is None:
        header = {
            "a": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [16, 24]},
            "__metadata__": {"format": "pt"},
        }
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(data)) + data + body)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder in PEFT's format, as a training leaves it."""
    folder = tmp_path / "source"
    folder.mkdir()
    write_weights(folder / files.WEIGHTS)
    (folder / files.CONFIG).write_text(json.dumps(CONFIG))
    (folder / "README.md").write_text("# card\n")
    (folder / "optimizer.pt").write_bytes(b"not for the store")
    return folder


def info(name: str = "mine", **changes: Any) -> AdapterInfo:
    values = {"name": name, "created_at": 5.0, "base_model": "builtin", "base_hash": "abc"}
    return AdapterInfo(**{**values, **changes})


@pytest.fixture
def store() -> AdapterStore:
    return AdapterStore()


def test_an_added_adapter_is_listed_with_its_facts(store: AdapterStore, source: Path) -> None:
    after = Measures(recalled=1.0, kept=0.98)
    folder = store.add(source, info(after=after, examples=["bcdfg"]))
    assert folder == store.root / "mine" == paths.home() / "adapters" / "mine"
    assert {p.name for p in folder.iterdir()} == {
        files.WEIGHTS, files.CONFIG, "README.md", "adapter.json"
    }  # fmt: skip
    [listed] = AdapterStore().list()
    assert (listed.info.after, listed.info.examples) == (after, ["bcdfg"])
    assert listed.size == sum(p.stat().st_size for p in folder.iterdir())
    assert listed.queries == 0
    assert store.entry("mine") == listed
    assert set(listed.info.files) == {files.WEIGHTS, files.CONFIG, "README.md"}
    assert store.problem("mine") is None and store.usable_folder("mine") == folder


def test_it_is_for_the_user_alone(store: AdapterStore, source: Path) -> None:
    folder = store.add(source, info())
    store.count_query("mine")
    store.set_live({"mine": 1.0})
    assert folder.stat().st_mode & 0o777 == store.root.stat().st_mode & 0o777 == 0o700
    every = [p for p in store.root.rglob("*") if p.is_file()]
    assert {p.stat().st_mode & 0o777 for p in every} == {0o600}


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a.b", "x" * 101, "sp ace", "\n"])
def test_names_cannot_leave_the_folder(store: AdapterStore, source: Path, name: str) -> None:
    with pytest.raises(UserError, match="adapter"):
        store.add(source, info(name))
    store.add(source, info("there"))
    with pytest.raises(UserError, match="adapter"):
        store.rename("there", name)
    for look in (store.get, store.folder, store.delete, store.problem):
        with pytest.raises(UserError, match="there is no adapter"):
            look(name)
    assert [item.info.name for item in store.list()] == ["there"]


def test_a_taken_name_is_refused_or_gets_a_number(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    with pytest.raises(UserError, match="there is already an adapter 'mine'"):
        store.add(source, info())
    names = [store.add(source, info(), add_number=True).name for _ in range(2)]
    assert names == ["mine-2", "mine-3"]
    free = store.free_name("taught")
    assert store.add(source, info(free)).name == free
    assert free.startswith("taught-2") and free.endswith("-1")
    assert store.add(source, info(free), add_number=True).name == free[:-1] + "2"


def test_an_unknown_name_gets_the_nearest(store: AdapterStore, source: Path) -> None:
    with pytest.raises(UserError, match="there are none yet"):
        store.get("mine")
    store.add(source, info("lighthouse"))
    with pytest.raises(UserError, match="did you mean 'lighthouse'"):
        store.get("lighthous")
    with pytest.raises(UserError, match="there are: lighthouse"):
        store.get("zzz")


BROKEN: list[tuple[Callable[[Path], object], str]] = [
    (lambda f: (f / files.WEIGHTS).unlink(), "adapter_model.safetensors is missing"),
    (lambda f: (f / files.CONFIG).unlink(), "adapter_config.json is missing"),
    (lambda f: (f / files.CONFIG).write_text("{"), "is not valid JSON"),
    (lambda f: (f / files.CONFIG).write_text("[]"), "only LORA is supported"),
    (lambda f: (f / files.CONFIG).write_text('{"peft_type":"IA3"}'), "has the peft_type 'IA3'"),
    (lambda f: (f / files.WEIGHTS).write_bytes(b""), "is incomplete or not a safetensors"),
    (lambda f: (f / files.WEIGHTS).write_bytes(b"\xff" * 99), "is incomplete or not a safetensors"),
    (lambda f: write_weights(f / files.WEIGHTS, b"{nonsense}"), "header is not valid JSON"),
    (lambda f: write_weights(f / files.WEIGHTS, b"[]"), "header is not valid JSON"),
    (lambda f: write_weights(f / files.WEIGHTS, {}, b""), "contains no weights"),
    (lambda f: write_weights(f / files.WEIGHTS, {"a": 3}), "the size of a is wrong"),
    (
        lambda f: write_weights(
            f / files.WEIGHTS, {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]}}
        ),
        "the size of a is wrong",
    ),
    (lambda f: write_weights(f / files.WEIGHTS, body=b"\0" * 23), "is incomplete: "),
    (lambda f: write_weights(f / files.WEIGHTS, body=b"\0" * 25), "is incomplete: it has"),
]


@pytest.mark.parametrize(("spoil", "expected"), BROKEN, ids=[expected for _, expected in BROKEN])
def test_a_broken_adapter_is_refused_and_leaves_nothing(
    store: AdapterStore, source: Path, spoil: Callable[[Path], object], expected: str
) -> None:
    folder = store.add(source, info("before"))
    spoil(source)
    with pytest.raises(UserError, match=r"the adapter in .* cannot be used") as caught:
        store.add(source, info())
    assert expected in str(caught.value)
    assert [p.name for p in store.root.iterdir() if p.is_dir()] == ["before"]
    spoil(folder)
    problem = store.problem("before")
    assert problem is not None
    assert "is missing" in problem or "has changed since it was saved" in problem


def test_a_changed_byte_and_newer_facts_are_named(store: AdapterStore, source: Path) -> None:
    folder = store.add(source, info())
    write_weights(folder / files.WEIGHTS, body=b"\1" * 24)
    assert store.problem("mine") == (
        "adapter_model.safetensors has changed since it was saved: its SHA-256 differs"
    )
    with pytest.raises(UserError, match=r"adapter 'mine' cannot be used: .* has changed since"):
        store.usable_folder("mine")
    files.write_info(folder, info(schema=99))
    assert "newer version" in str(store.problem("mine"))


def test_a_folder_without_facts_is_no_adapter(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    (store.root / "mine" / files.INFO).write_text("{torn")
    assert store.list() == []
    with pytest.raises(UserError, match="there is no adapter 'mine'"):
        store.folder("mine")


def test_a_rename_carries_everything_along(store: AdapterStore, source: Path) -> None:
    store.add(source, info("old"))
    store.add(source, info("child", parent="old"))
    store.count_query("old")
    store.set_live({"old": 0.7, "child": 0.3})
    store.rename("old", "new")
    store.set_live({"child": 0.5})
    store.rename("child", "kid")
    assert store.live() == {"kid": 0.5}
    store.rename("kid", "child")
    store.set_live({"new": 0.7, "child": 0.3})
    assert {item.info.name: item.queries for item in store.list()} == {"new": 1, "child": 0}
    assert store.get("child").parent == "new"
    assert store.live() == {"new": 0.7, "child": 0.3}
    assert store.problem("new") is None
    store.delete("child")
    assert store.live() == {"new": 1.0}
    store.restore("child")
    with pytest.raises(UserError, match="already"):
        store.rename("new", "child")


def test_what_is_deleted_can_be_restored(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    store.count_query("mine")
    store.set_live({"mine": 1.0})
    store.delete("mine")
    assert (store.list(), store.live()) == ([], {})
    assert [item.name for item in store.trash()] == ["mine"]
    assert store.restore("mine") == "mine"
    assert store.trash() == []
    assert store.list()[0].queries == 1
    assert store.live() == {}, "it is there again, but it does not answer by itself"


def test_restore_adds_a_number_to_a_taken_name(store: AdapterStore, source: Path) -> None:
    for created in (1.0, 2.0):
        store.add(source, info(created_at=created))
        store.delete("mine")
    store.add(source, info(created_at=3.0))
    newest, oldest = store.trash()
    assert store.restore("mine") == "mine-2"
    assert store.get("mine-2").created_at == 2.0
    assert [item.key for item in store.trash()] == [oldest.key]
    assert store.restore(oldest.key) == "mine-3"
    with pytest.raises(UserError, match="it is empty"):
        store.restore(newest.key)


def test_purge_empties_the_trash_for_good(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    store.delete("mine")
    (store.root / ".trash" / ".odd").touch()
    assert store.purge() == 1
    assert store.trash() == []
    with pytest.raises(UserError, match="there is no adapter 'mine' in the trash"):
        store.restore("mine")


def test_what_is_live_survives_a_restart_by_base(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    store.add(source, info("foreign", base_model="/models/other"))
    store.set_live({"mine": 1.0})
    store.set_live({"foreign": 1.0}, "/models/other")
    again = AdapterStore()
    assert (again.live(), again.live("/models/other")) == ({"mine": 1.0}, {"foreign": 1.0})
    with pytest.raises(
        UserError, match="'foreign' belongs to the base /models/other, not to builtin"
    ):
        store.set_live({"foreign": 1.0})
    store.set_live({})
    assert (again.live(), again.live("/models/other")) == ({}, {"foreign": 1.0})


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf")])
def test_a_weight_must_be_a_number(store: AdapterStore, source: Path, weight: float) -> None:
    store.add(source, info())
    with pytest.raises(UserError, match="cannot have the weight"):
        store.set_live({"mine": weight})
    with pytest.raises(UserError, match="there is no adapter"):
        store.set_live({"nobody": 1.0})
    assert store.live() == {}


def test_a_missing_or_damaged_active_adapter_is_reported_once(
    store: AdapterStore, source: Path
) -> None:
    for name in ("whole", "broken", "gone"):
        store.add(source, info(name))
    store.set_live({"whole": 0.5, "broken": 0.3, "gone": 0.2})
    (store.root / "broken" / files.WEIGHTS).write_bytes(b"")
    (store.root / "gone").rename(store.root.parent / "elsewhere")
    assert store.live() == {"whole": 0.5, "broken": 0.3}
    reported = store.drop_missing_live()
    assert reported[0].startswith("adapter 'broken' was deactivated: ")
    assert reported[1] == "adapter 'gone' was deactivated: it does not exist"
    assert store.live() == {"whole": 1.0}, "the only one left answers in full"
    assert store.drop_missing_live() == []


def test_a_broken_live_file_means_the_base_alone(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    (store.root / "live.json").write_text("[torn")
    assert store.live() == {}
    store.set_live({"mine": 1.0})
    assert store.live() == {"mine": 1.0}


def test_queries_are_counted_and_a_missing_adapter_is_ignored(
    store: AdapterStore, source: Path
) -> None:
    store.add(source, info())
    for name in ("mine", "mine", "nobody", "../up"):
        store.count_query(name)
    assert store.list()[0].queries == 2


def test_an_export_is_a_folder_without_our_counts(store: AdapterStore, source: Path) -> None:
    store.add(source, info())
    store.count_query("mine")
    target = source.parent / "out"
    files.copy_out(store.folder("mine"), target)
    assert {p.name for p in target.iterdir()} == {
        files.WEIGHTS, files.CONFIG, "README.md", "adapter.json"
    }  # fmt: skip


DOER = """
import itertools, sys
from pathlib import Path
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store.adapters.adapter_store import AdapterStore
root, source = map(Path, sys.argv[1:])
store = AdapterStore(root)
info = AdapterInfo(name="taught", created_at=1.0, base_model="builtin", base_hash=None)
print("ready", flush=True)
for turn in itertools.count():
    name = store.add(source, info, add_number=True).name
    print("added", name, flush=True)
    store.set_live({name: 1.0})
    print("live", name, flush=True)
    if turn % 2:
        store.rename(name, name + "r")
        print("renamed", name + "r", flush=True)
"""


@pytest.mark.slow
def test_twenty_kills_leave_only_complete_adapters(tmp_path: Path, source: Path) -> None:
    root, chance = tmp_path / "adapters", random.Random(11)
    names: set[str] = set()
    for _ in range(20):
        doer = subprocess.Popen(
            [sys.executable, "-c", DOER, str(root), str(source)], stdout=subprocess.PIPE, text=True
        )
        assert doer.stdout is not None
        assert doer.stdout.readline() == "ready\n"
        expected = [doer.stdout.readline().split() for _ in range(chance.randrange(8))]
        doer.send_signal(signal.SIGKILL)
        expected += [line.split() for line in doer.stdout if line.endswith("\n")]
        doer.wait()
        store = AdapterStore(root)
        for what, name in expected:
            names.discard(name.removesuffix("r"))
            names.add(name)
            if what == "renamed":
                assert name.endswith("r")
        there = {item.info.name for item in store.list()}
        visible = {p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")}
        assert there == visible, "every folder that can be seen is an adapter"
        assert all(name in there or f"{name}r" in there for name in names)
        assert [store.problem(name) for name in there] == [None] * len(there)
        if any(what == "live" for what, _ in expected):
            assert len(store.live()) == 1
        assert store.drop_missing_live() == []
    store.add(source, info("after"))
    assert list(root.glob(".incoming-*")) == []


def test_a_read_error_without_a_file_name_is_a_reason(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("tui_trainer.store.tensor_files.read_header", refuse)
    assert files.weights_problem(source) == "a file cannot be read: Input/output error"
