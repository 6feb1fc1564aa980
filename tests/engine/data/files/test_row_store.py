"""Rows in a temporary file are those in memory."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.dataset import Dataset, load_dataset
from tui_trainer.engine.data.files import row_store
from tui_trainer.engine.data.files.row_store import RowStore, select
from tui_trainer.engine.data.rows import Message, Row, ToolCall
from tui_trainer.engine.data.tokens import token_cache, token_table
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs, paths

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
CALLS = st.tuples(st.builds(ToolCall, name=TEXT, arguments=TEXT, id=TEXT))
TURNS = st.builds(
    Message, role=TEXT, content=TEXT, learned=st.booleans(), tool_calls=st.just(()) | CALLS
)
ROWS = st.builds(
    Row,
    messages=st.lists(TURNS, max_size=3).map(tuple),
    text=st.none() | TEXT,
    weight=st.floats(0, 2),
    where=TEXT,
    label=st.none() | TEXT,
    group=TEXT,
    tools=TEXT,
)


@pytest.fixture
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_store, "MOST_IN_MEMORY", 1_000)
    monkeypatch.setattr(token_table, "MOST_IN_MEMORY", 100)
    monkeypatch.setattr(token_cache, "LEAST_CHARACTERS", 1)


@given(st.lists(ROWS, max_size=12), st.integers(0, 3_000), st.randoms(use_true_random=False))
def test_a_store_has_its_rows_in_any_order(
    tmp_path_factory: pytest.TempPathFactory, rows: list[Row], most: int, chance: Any
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUI_TRAINER_HOME", str(tmp_path_factory.getbasetemp() / "rows"))
        patch.setattr(row_store, "MOST_IN_MEMORY", most)
        patch.setattr(row_store, "_BLOCK", 64)
        store = RowStore(rows)
    order = list(range(len(rows))) * 2
    chance.shuffle(order)
    assert store == rows and [store[at] for at in order] == [rows[at] for at in order]
    chosen = select(store, order)
    assert chosen == [rows[at] for at in order] and chosen[1:3] == [rows[at] for at in order[1:3]]
    assert list(select(chosen, np.arange(len(order))[::2])) == [rows[at] for at in order[::2]]


@pytest.mark.parametrize("task", ["causal-lm", "classification"])
def test_data_larger_than_memory_gives_the_same_examples(
    task: str, write_rows: Callable[..., Path], tiny_base: Path, request: pytest.FixtureRequest
) -> None:
    answers: list[dict[str, object]] = [
        {"question": f"What is {i % 37}?", "answer": f"It is {i}.", "weight": 1 + i % 2}
        for i in range(90)
    ]
    if task == "classification":
        answers = [{"text": f"the cat {i}", "label": "abbccc"[i % 6]} for i in range(90)]
    values: dict[str, Any] = {
        "data": {"train": str(write_rows("t.jsonl", answers)), "val_split": 0.2, "balance": "none"},
        "task": task,
    }

    def load(**settings: object) -> Dataset:
        job = jobs.check_job({**values, "data": {**values["data"], **settings}}, Path(), "test")
        return load_dataset(job, load_tokenizer(str(tiny_base)))

    balances = ["none", "weight", "oversample"] if task == "classification" else ["none"]
    wanted = [load(balance=balance, cache=False) for balance in balances]
    request.getfixturevalue("small_memory")
    for cache in (False, True, True):
        for balance, whole in zip(balances, wanted, strict=True):
            found = load(balance=balance, cache=cache)
            assert found == whole
            assert found.train[3:5] == list(whole.train)[3:5]
    assert found.from_cache
    assert {file.name for file in paths.cache_dir().iterdir()} == {"tokens"}, "nothing else is left"


def test_a_full_disk_is_one_sentence(small_memory: None, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(row_store, "scratch_file", Full)
    with pytest.raises(UserError, match=r"larger than fits into memory.*No space left"):
        RowStore(Row((), "x" * 400, 1.0, "row") for _ in range(9))


def test_a_folder_that_cannot_be_written_leaves_the_systems_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TUI_TRAINER_HOME", str(tmp_path / "file"))
    with row_store.scratch_file() as file:
        assert file.write(b"x") == 1
    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UserError, match="no temporary file can be made"):
        row_store.scratch_file()


def refuse(**_options: object) -> None:
    raise OSError("read-only")
