"""The tokens do not depend on the number of workers, and no worker outlives the pool."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import dataset
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.data.tokens import token_cache, tokenizer_pool
from tui_trainer.engine.data.tokens.token_arrays import Tokens
from tui_trainer.engine.data.tokens.tokenizer_pool import TokenizerPool
from tui_trainer.engine.distributed import dist_env
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
def use_workers_for_few_rows(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(tokenizer_pool, "LEAST_CHARACTERS", 0)
    monkeypatch.setattr(tokenizer_pool, "CHUNK_CHARACTERS", 300)
    monkeypatch.setattr(token_cache, "LEAST_CHARACTERS", 1)
    yield
    assert not multiprocessing.active_children()


@pytest.fixture
def load(write_rows: Callable[..., Path], tiny_base: Path) -> Load:
    """Loads data as a run does."""

    def go(
        rows: Rows, workers: int, *, on_progress: Any = None, tokenizer: Any = None, **more: Any
    ) -> Dataset:
        files = {"train": str(write_rows("t.jsonl", rows)), "val_split": 0.2, "max_length": 48}
        replay = {} if "label" in rows[0] else {"replay": str(write_rows("r.jsonl", TEXTS[:9]))}
        values = {
            "data": {"cache": False, **files, **replay, "workers": workers, **more},
            "task": "classification" if "label" in rows[0] else "causal-lm",
        }
        job = jobs.check_job(values, Path(), "test")
        return dataset.load_dataset(
            job, tokenizer or load_tokenizer(str(tiny_base)), None, on_progress
        )

    return go


def kill_one(done: int, total: int) -> None:
    """Kill a worker, as the kernel does where memory runs out."""
    for worker in multiprocessing.active_children()[:1]:
        worker.kill()


def fail(rows: Any, tokenizer: Any, max_length: int) -> Tokens:
    raise ZeroDivisionError(f"{len(rows)} of {max_length}")


def process_id_as_token(rows: Any, tokenizer: Any, max_length: int) -> Tokens:
    number = len(rows)
    return Tokens([[os.getpid()]] * number, [[1]] * number, list(range(number)), number)


def ids(pool: TokenizerPool, rows: int) -> list[int]:
    """The process that tokenised each row."""
    parts = pool.tokenise(process_id_as_token, ["x"] * rows, rows, 7)
    return [int(token) for part in parts for token in ~part.coded]  # all are learned


@pytest.mark.slow
@pytest.mark.parametrize("rows", [PAIRS + TURNS + TEXTS, LABELLED], ids=["all", "classes"])
def test_three_workers_give_the_tokens_of_one_process(rows: Rows, load: Load) -> None:
    alone, shared = load(rows, 0), load(rows, 3)
    assert shared == alone
    assert shared.report.fingerprint == alone.report.fingerprint
    assert alone.report.train.cut > 0, "some rows are cut"


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize(
    "rows", [PAIRS, TURNS, TEXTS, LABELLED], ids=["pairs", "turns", "texts", "classes"]
)
def test_workers_give_the_same_tokens_for_every_kind_of_row(
    rows: Rows, workers: int, load: Load
) -> None:
    assert load(rows, workers) == load(rows, 0)


@pytest.mark.slow
def test_workers_and_one_process_use_the_same_cache_entries(load: Load) -> None:
    made = load(TURNS, 2, cache=True)
    kept = {f.name: f.read_bytes() for f in (paths.cache_dir() / "tokens").iterdir()}
    found = load(TURNS, 0, cache=True)
    assert found == made and found.from_cache and not made.from_cache
    for file in (paths.cache_dir() / "tokens").iterdir():
        file.unlink()
    assert load(TURNS, 0, cache=True) == made
    assert {f.name: f.read_bytes() for f in (paths.cache_dir() / "tokens").iterdir()} == kept
    assert load(TURNS, 2, cache=True).from_cache


def test_refused_rows_are_left_out_for_any_number_of_workers(load: Load, tiny_base: Path) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    refuse = "{% if 'bad' in messages[0]['content'] %}{{ raise_exception('no') }}{% endif %}"
    tokenizer.chat_template = refuse + tokenizer.chat_template
    rows = [dict(row) for row in PAIRS]
    for number in (31, 44, 58):
        rows[number]["question"] = "bad"
    found = []
    for workers in (0, 2):
        loaded = load(rows, workers, tokenizer=tokenizer, val_split=None)
        found.append(loaded.report.train.left_out)
        assert len(loaded.train) == len(rows) - 3
    assert found[0] == found[1]
    (left_out,) = found[0]
    assert left_out.text() == (
        "the base's chat template refuses the conversation: no "
        "(t.jsonl line 32, t.jsonl line 45, t.jsonl line 59)"
    )


def test_a_killed_worker_is_reported_in_one_sentence(load: Load) -> None:
    with pytest.raises(UserError, match=r"was killed by SIGKILL \(out of memory\?\); start") as e:
        load(PAIRS * 40, 2, on_progress=kill_one)
    assert e.value.exit_status == 1


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_of_the_progress_callback_ends_the_workers(workers: int, load: Load) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        load(PAIRS * 40, workers, on_progress=stop)
    assert not multiprocessing.active_children()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_an_unexpected_error_of_a_worker_is_raised(workers: int, tiny_base: Path) -> None:
    with (
        TokenizerPool(load_tokenizer(str(tiny_base)), workers) as pool,
        pytest.raises(ZeroDivisionError, match="2 of 7"),
    ):
        list(pool.tokenise(fail, ["x", "y"], 2, 7))


@pytest.mark.slow
def test_few_rows_and_tokenizers_with_own_code_use_no_worker(
    tiny_base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = [os.getpid()] * 3
    tokenizer = load_tokenizer(str(tiny_base))
    with TokenizerPool(tokenizer, 1) as pool:
        assert ids(pool, 3) != here
        monkeypatch.setattr(tokenizer_pool, "LEAST_CHARACTERS", 4)
        assert ids(pool, 3) != here, "the worker runs already"
    with TokenizerPool(tokenizer, 1) as pool:
        assert ids(pool, 3) == here
    monkeypatch.setattr(tokenizer_pool, "LEAST_CHARACTERS", 0)
    tokenizer.__class__ = type("Own", (type(tokenizer),), {"__module__": "somebody.code"})
    with TokenizerPool(tokenizer, 1) as pool:
        assert ids(pool, 3) == here


@pytest.mark.slow
def test_workers_do_not_print_warnings_of_the_tokenizer(
    load: Load, tiny_base: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tokenizer = load_tokenizer(str(tiny_base))
    tokenizer.model_max_length = 8  # "sequence length is longer than ..."
    load(TEXTS, 1, tokenizer=tokenizer)
    assert capfd.readouterr().err == ""


def test_the_processes_of_a_run_divide_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokenizer_pool.workers_of_rank(8) == 8
    for name, value in zip(dist_env.VARIABLES, ("0", "8", "0", "4", "host", "29500"), strict=True):
        monkeypatch.setenv(name, value)
    assert tokenizer_pool.workers_of_rank(8) == 8, "the leader reads first, alone"
    monkeypatch.setenv("RANK", "3")
    assert (tokenizer_pool.workers_of_rank(8), tokenizer_pool.workers_of_rank(3)) == (2, 0)


@pytest.mark.slow
def test_signals_are_blocked_in_workers_and_not_in_the_engine(tiny_base: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with TokenizerPool(load_tokenizer(str(tiny_base)), 1) as pool:
        ids(pool, 1)
        (worker,) = multiprocessing.active_children()
        assert worker.pid is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)
        assert ids(pool, 1) == [worker.pid]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
