"""The files of an adapter are read again only where they have changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.message import Message

from tests.weights import one_tensor
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.tui.adapters import adapter_checks
from tui_trainer.tui.adapters.adapter_checks import AdapterChecks, check


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AdapterStore:
    monkeypatch.setenv("TUI_TRAINER_HOME", str(tmp_path / "home"))
    source = tmp_path / "source"
    source.mkdir()
    (source / files.WEIGHTS).write_bytes(one_tensor())
    (source / files.CONFIG).write_text('{"peft_type": "LORA", "r": 2}')
    own = AdapterStore()
    own.add(source, AdapterInfo(name="a", created_at=1.0, base_model="builtin", base_hash=None))
    return own


def test_an_edit_or_an_answer_is_no_reason_to_read_all_files_again(store: AdapterStore) -> None:
    first = check(store.entry("a"), None)
    assert first.problem is None
    store.edit("a", description="other")
    store.count_query("a")
    assert check(store.entry("a"), first) is first
    (store.folder("a") / files.WEIGHTS).write_bytes(b"torn")
    assert "SHA-256 differs" in str(check(store.entry("a"), first).problem)


def test_a_deleted_adapter_is_named(store: AdapterStore) -> None:
    entry = store.entry("a")
    store.delete("a")
    assert "there is no adapter 'a'" in str(check(entry, None).problem)


def test_an_entry_is_checked_once_and_one_at_a_time(
    store: AdapterStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted: list[Message] = []
    monkeypatch.setattr(adapter_checks, "in_background", lambda _name, work: work())
    checks = AdapterChecks(posted.append)
    assert checks.text("a") == "checking …"
    checks.request(store.entry("a"))
    checks.request(store.entry("a"))
    assert len(posted) == 1 and isinstance(posted[0], AdapterChecks.Checked)
    checks.add(posted[0].result)
    assert checks.text("a") == "none"
    checks.request(store.entry("a"))
    assert len(posted) == 1
    store.edit("a", description="other")
    checks.request(store.entry("a"))
    assert len(posted) == 2
