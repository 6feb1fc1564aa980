"""Rows are tokenised once, and the content of the cache never changes the examples."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.engine.data import dataset
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.data.tokens import encoding, token_cache
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs.run_folder import RunFolder

Rows = list[dict[str, Any]]
QUESTIONS: Rows = [
    {"messages": [{"role": "user", "content": f"what is {i}?"},
                  {"role": "assistant", "content": f"the cat {i}", "weight": i % 2},
                  {"role": "user", "content": "and then?"},
                  {"role": "assistant", "content": "dog " * (i % 9 + 1)}]}
    for i in range(30)
]  # fmt: skip
TEXTS: Rows = [{"text": f"the cat {i} {'x' * (i % 40)}", "label": i % 3} for i in range(30)]


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_cache, "LEAST_CHARACTERS", 1)


@pytest.fixture
def load(write_rows: Callable[..., Path], tiny_base: Path) -> Callable[..., Dataset]:
    """Loads data as a run does, with a new tokenizer."""

    def go(rows: Rows, tokenizer: Any = None, **settings: Any) -> Dataset:
        values = {
            "data": {"train": str(write_rows("t.jsonl", rows)), "val_split": 0.2, **settings},
            "task": "classification" if "label" in rows[0] else "causal-lm",
        }
        job = jobs.check_job(values, Path(), "test")
        return dataset.load_dataset(job, tokenizer or load_tokenizer(str(tiny_base)))

    return go


def entries() -> list[Path]:
    return sorted((paths.cache_dir() / "tokens").glob("*"))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of rows of the parts that were tokenised, not read from the cache."""
    made: list[int] = []
    for name in ("tokenise_rows", "tokenise_texts"):
        original = getattr(encoding, name)

        def watched(rows: Any, *rest: Any, original: Any = original) -> Any:
            made.append(len(rows))
            return original(rows, *rest)

        monkeypatch.setattr(encoding, name, watched)
    return made


@pytest.mark.parametrize("rows", [QUESTIONS, TEXTS], ids=["conversations", "labelled"])
def test_the_second_load_tokenises_nothing_and_gives_the_same_examples(
    rows: Rows, load: Callable[..., Dataset], calls: list[int]
) -> None:
    without = load(rows, max_length=32, cache=False)
    assert entries() == []
    first = load(rows, max_length=32)
    assert (first, first.from_cache, len(entries())) == (without, False, 2)
    del calls[:]
    second = load(rows, max_length=32)
    assert (second, second.from_cache, calls) == (without, True, [])
    assert all(type(i) is int for i in (*second.train[0].input_ids, *second.train[0].learned))
    assert second.report.train.cut > 0, "rows that were cut are counted as before"
    assert {file.stat().st_mode & 0o777 for file in entries()} == {0o600}
    for folder in (paths.cache_dir(), paths.cache_dir() / "tokens"):
        assert folder.stat().st_mode & 0o777 == 0o700


def test_every_difference_in_content_or_settings_makes_another_entry(
    load: Callable[..., Dataset], tiny_base: Path, calls: list[int]
) -> None:
    load(QUESTIONS)
    one = len(calls)
    other = load_tokenizer(str(tiny_base))
    other.chat_template = str(other.chat_template).replace("<|end|>", "<|end|> ")
    more = load_tokenizer(str(tiny_base))
    more.add_tokens(["cat"])
    unlearned = [{"messages": [{**t, "weight": 0} for t in r["messages"][:3]] + r["messages"][3:]}
                 for r in QUESTIONS]  # fmt: skip
    changes: list[Callable[[], Dataset]] = [
        lambda: load(QUESTIONS, other),
        lambda: load(QUESTIONS, more),
        lambda: load(QUESTIONS, max_length=60),
        lambda: load(unlearned),
        lambda: load([*QUESTIONS[1:], QUESTIONS[0]]),
    ]
    for count, change in enumerate(changes, start=2):
        change()
        assert len(calls) == count * one, f"change {count - 1}"


def test_a_damaged_entry_is_written_again(load: Callable[..., Dataset], calls: list[int]) -> None:
    whole = load(QUESTIONS)
    good = [file.read_bytes() for file in entries()]
    for damage in (b"", good[0][:-3], bytes([good[0][0] ^ 1]) + good[0][1:], good[0] + b"x"):
        for file in entries():
            file.write_bytes(damage)
        del calls[:]
        assert load(QUESTIONS) == whole and len(calls) == 2
        assert [file.read_bytes() for file in entries()] == good


def test_a_folder_that_cannot_be_written_is_reported_and_harmless(
    load: Callable[..., Dataset],
) -> None:
    paths.cache_dir().parent.mkdir(parents=True, exist_ok=True)
    paths.cache_dir().write_text("in the way")
    found = load(QUESTIONS)
    assert any("cache cannot be written" in notice for notice in found.notices)
    assert found.train == load(QUESTIONS, cache=False).train


def test_a_tokenizer_with_its_own_code_has_no_identity(tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    assert token_cache.identity(tokenizer) is not None
    own = type("Own", (type(tokenizer),), {"__module__": "somebody.code"})
    tokenizer.__class__ = own
    assert token_cache.identity(tokenizer) is None


def test_entries_of_a_template_with_the_date_are_valid_for_a_day(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.chat_template = "{{ strftime_now('%d') }}" + str(tokenizer.chat_template)
    days = []
    for day in ("2026-11-21", "2026-11-21", "2026-11-22"):
        monkeypatch.setattr(time, "strftime", lambda _, day=day: day)
        days.append(token_cache.identity(tokenizer))
    assert days[0] == days[1] != days[2]


def test_a_run_reports_that_its_tokens_came_from_the_cache(
    make_run: Callable[..., RunFolder], run_engine: Callable[..., int]
) -> None:
    settings = {"max_steps": 2, "eval_every": 0, "checkpoint_every": 0}
    messages = []
    for _ in range(2):
        folder = make_run(training=settings)
        assert run_engine(folder) == 0
        messages += [event.message for event in folder.events() if event.kind == "data"]
    assert not messages[0].endswith("cache")
    assert messages[1] == f"{messages[0]}; tokens from the cache"


@pytest.mark.slow
def test_the_number_of_tokenizer_threads_does_not_change_the_examples(
    write_rows: Callable[..., Path], tiny_base: Path
) -> None:
    """The tokenizer's own threads, before training; `data.workers` have none."""
    file = write_rows("t.jsonl", QUESTIONS * 40)
    program = (
        "import sys; from pathlib import Path\n"
        "from tui_trainer.engine.data.dataset import load_dataset\n"
        "from tui_trainer.models.base_model import load_tokenizer\n"
        "from tui_trainer.store import jobs\n"
        "values = {'data': {'train': sys.argv[1], 'val_split': 0.1, 'cache': False}}\n"
        "job = jobs.check_job(values, Path(), 'test')\n"
        "print(load_dataset(job, load_tokenizer(sys.argv[2])).report.fingerprint)\n"
    )
    found = set()
    for parallel, threads in (("false", "1"), ("true", "1"), ("true", "4")):
        found.add(
            subprocess.run(
                [sys.executable, "-c", program, str(file), str(tiny_base)],
                env={
                    **os.environ,
                    "TOKENIZERS_PARALLELISM": parallel,
                    "RAYON_NUM_THREADS": threads,
                },
                capture_output=True,
                text=True,
                check=True,
            ).stdout
        )
    assert len(found) == 1
