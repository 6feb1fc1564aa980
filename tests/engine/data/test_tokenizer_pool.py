"""However many workers tokenise, the same comes out, and none is ever left over."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine import dist_env
from tui_trainer.engine.data import dataset, token_cache, tokenizer_pool
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.data.token_cache import Tokens
from tui_trainer.engine.data.tokenizer_pool import TokenizerPool
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs, paths

Rows = list[dict[str, Any]]
Load = Callable[..., Dataset]

PAIRS: Rows = [{"question": f"what is {i}?", "answer": f"{i} is {i}"} for i in range(60)]
TURNS: Rows = [
    {"messages": [{"role": "system", "content": "say little"},
                  {"role": "user", "content": f"what is {i}?"},
                  {"role": "assistant", "content": f"the cat {i}", "weight": i % 2},
                  {"role": "user", "content": "and then? " * (i % 5)  + "say"},
                  {"role": "assistant", "content": "dög 犬 " * (i % 9 + 1)}]}
    for i in range(40)
]  # fmt: skip
TEXTS: Rows = [{"text": f"the cat {i} {'x' * (i % 60)}", "weight": 1 + i % 2} for i in range(40)]
LABELLED: Rows = [{"text": f"the cat {i} {'x' * (i % 60)}", "label": i % 3} for i in range(60)]


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tokenizer_pool, "LEAST", 0)
    monkeypatch.setattr(tokenizer_pool, "CHUNK", 300)
    monkeypatch.setattr(token_cache, "LEAST_CHARACTERS", 1)
    yield
    assert not multiprocessing.active_children()


@pytest.fixture
def load(write_rows: Callable[..., Path], tiny_base: Path) -> Load:
    """The data as a run would load it."""

    def go(
        rows: Rows, workers: int, *, between: Any = None, tokenizer: Any = None, **more: Any
    ) -> Dataset:
        files = {"train": str(write_rows("t.jsonl", rows)), "val_split": 0.2, "max_length": 48}
        replay = {} if "label" in rows[0] else {"replay": str(write_rows("r.jsonl", TEXTS[:9]))}
        values = {
            "data": {"cache": False, **files, **replay, "workers": workers, **more},
            "task": "classification" if "label" in rows[0] else "causal-lm",
        }
        job = jobs.check_job(values, Path(), "test")
        return dataset.load_dataset(job, tokenizer or load_tokenizer(str(tiny_base)), None, between)

    return go


def kill_one(done: int, total: int) -> None:
    """What the kernel does where memory runs out."""
    for worker in multiprocessing.active_children()[:1]:
        worker.kill()


def broken(rows: Any, tokenizer: Any, max_length: int) -> Tokens:
    raise ZeroDivisionError(f"{len(rows)} of {max_length}")


def where_it_runs(rows: Any, tokenizer: Any, max_length: int) -> Tokens:
    return Tokens([[os.getpid()] for _ in rows], [[1] for _ in rows], 0)


@pytest.mark.parametrize("rows", [PAIRS + TURNS + TEXTS, LABELLED], ids=["all", "classes"])
def test_three_workers_make_what_one_process_makes(rows: Rows, load: Load) -> None:
    alone, shared = load(rows, 0), load(rows, 3)
    assert shared == alone
    assert shared.report.fingerprint == alone.report.fingerprint
    assert alone.report.train.cut > 0, "some rows are cut"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "rows", [PAIRS, TURNS, TEXTS, LABELLED], ids=["pairs", "turns", "texts", "classes"]
)
def test_every_kind_of_row_comes_out_the_same(rows: Rows, workers: int, load: Load) -> None:
    assert load(rows, workers) == load(rows, 0)


@pytest.mark.slow
def test_what_workers_made_is_found_by_one_process_and_the_other_way_round(load: Load) -> None:
    made = load(TURNS, 2, cache=True)
    kept = {f.name: f.read_bytes() for f in (paths.cache_dir() / "tokens").iterdir()}
    found = load(TURNS, 0, cache=True)
    assert found == made and found.from_cache and not made.from_cache
    for file in (paths.cache_dir() / "tokens").iterdir():
        file.unlink()
    assert load(TURNS, 0, cache=True) == made
    assert {f.name: f.read_bytes() for f in (paths.cache_dir() / "tokens").iterdir()} == kept
    assert load(TURNS, 2, cache=True).from_cache


def test_the_first_row_refused_is_named_by_workers_as_by_one_process(
    load: Load, tiny_base: Path
) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    refuse = "{% if 'bad' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}"
    tokenizer.chat_template = refuse + tokenizer.chat_template
    rows = [dict(row) for row in PAIRS]
    for number in (31, 44, 58):
        rows[number]["question"] = "bad"
    said = []
    for workers in (0, 2):
        with pytest.raises(UserError) as caught:
            load(rows, workers, tokenizer=tokenizer, val_split=None)
        said.append((str(caught.value), caught.value.exit_status))
    assert said[0] == said[1]
    assert said[0][0].startswith("t.jsonl line 32: the base's chat template refuses")


def test_a_worker_that_is_killed_is_one_sentence(load: Load) -> None:
    with pytest.raises(UserError, match=r"was killed by SIGKILL \(out of memory\?\); start") as e:
        load(PAIRS * 40, 2, between=kill_one)
    assert e.value.exit_status == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_whoever_ends_the_work_ends_the_workers(workers: int, load: Load) -> None:
    def told(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        load(PAIRS * 40, workers, between=told)
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_what_nobody_thought_of_is_raised_as_ever(workers: int, tiny_base: Path) -> None:
    with (
        TokenizerPool(load_tokenizer(str(tiny_base)), workers) as some,
        pytest.raises(ZeroDivisionError, match="2 of 7"),
    ):
        some.tokenise(broken, ["x", "y"], 7)


def test_few_rows_and_strange_tokenizers_stay_here(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [[os.getpid()]] * 3
    tokenizer = load_tokenizer(str(tiny_base))
    with TokenizerPool(tokenizer, 1) as some:
        assert some.tokenise(where_it_runs, ["x"] * 3, 7).ids != here
        monkeypatch.setattr(tokenizer_pool, "LEAST", 4)
        assert some.tokenise(where_it_runs, ["x"] * 3, 7).ids != here, "it is there already"
    with TokenizerPool(tokenizer, 1) as some:
        assert some.tokenise(where_it_runs, ["x"] * 3, 7).ids == here
    monkeypatch.setattr(tokenizer_pool, "LEAST", 0)
    tokenizer.__class__ = type("Own", (type(tokenizer),), {"__module__": "somebody.code"})
    with TokenizerPool(tokenizer, 1) as some:
        assert some.tokenise(where_it_runs, ["x"] * 3, 7).ids == here


@pytest.mark.slow
def test_workers_keep_the_tokenizers_advice_to_themselves(
    load: Load, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.model_max_length = 8  # "sequence length is longer than ..."
    load(TEXTS, 1, tokenizer=tokenizer)
    assert capfd.readouterr().err == ""


def test_processes_that_train_together_share_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokenizer_pool.own_share(8) == 8
    for name, value in zip(dist_env.VARIABLES, ("0", "8", "0", "4", "host", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert tokenizer_pool.own_share(8) == 8, "the leader reads first, alone"
    monkeypatch.setenv("RANK", "3")
    assert (tokenizer_pool.own_share(8), tokenizer_pool.own_share(3)) == (2, 0)


def test_workers_have_the_signals_blocked_and_the_engine_has_not(tiny_base: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with TokenizerPool(load_tokenizer(str(tiny_base)), 1) as some:
        some.tokenise(where_it_runs, ["x"], 7)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)
        assert some.tokenise(where_it_runs, ["x"], 7).ids == [[worker.pid]]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
