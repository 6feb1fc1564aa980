"""Tokenising in this process, or in worker processes where the job asks for them.

Each worker has its own pipe and no other channel, so that the death of either side is noticed at
once: a worker that dies closes its pipe, and an engine that dies closes all of them, which ends
the workers. (The workers of `concurrent.futures` share one pipe: a worker killed while it writes
blocks the others and the engine for ever.)
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import pickle
import signal
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

import transformers

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.data.tokens.token_arrays import SharedIntegers, Tokens, join, pack, unpack
from tui_trainer.engine.data.tokens.token_cache import has_own_code
from tui_trainer.engine.distributed.dist_env import process_rank

# Tokenises (rows, tokenizer, most tokens per row); a module-level function, as workers import it.
TokeniseFunction = Callable[[Any, Any, int], Tokens]
# Called now and then with the rows done and the rows in all; may raise, which ends the work.
ProgressCallback = Callable[[int, int], None]

CHUNK_CHARACTERS = 400_000  # tokenised at once: about a quarter of a second
# Below this, starting workers costs more than they save: two workers on two virtual cores took
# 7.5 s for 8 million characters, as without workers, and 15 s instead of 25 s for 26 million.
LEAST_CHARACTERS = 10_000_000
_POLL_SECONDS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TokenizerPool:
    """A tokenizer with its worker processes, which start with the first rows that are worth it
    and end with `close`."""

    def __init__(
        self, tokenizer: Any, workers: int = 0, on_progress: ProgressCallback | None = None
    ) -> None:
        self._tokenizer = tokenizer
        self._wanted = 0 if has_own_code(tokenizer) else workers
        self._on_progress = on_progress or (lambda _done, _total: None)
        self._workers: dict[Connection, SpawnProcess] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def tokenise(
        self, function: TokeniseFunction, rows: Sequence[Row | str], max_length: int
    ) -> Tokens:
        """Return what `function` gives for the rows, in their order.

        The result, and the first error, do not depend on the number of workers. Raises
        `UserError` also where a worker is killed.
        """
        chunks = chunk_bounds(rows)
        in_workers = self._wanted > 0 and (
            bool(self._workers) or sum(map(characters, rows)) >= LEAST_CHARACTERS
        )
        parts = (
            self._run_in_workers(
                [(function, rows[start:end], max_length) for start, end in chunks], len(rows)
            )
            if in_workers
            else (function(rows[start:end], self._tokenizer, max_length) for start, end in chunks)
        )
        finished: list[Tokens] = []
        done = 0
        shared = SharedIntegers()
        for part in parts:
            finished.append(replace(part, ids=shared.share(part.ids)))
            done += part.total
            self._on_progress(done, len(rows))
        return join(finished)

    def _run_in_workers(
        self, tasks: list[tuple[TokeniseFunction, Sequence[Row | str], int]], rows: int
    ) -> Iterator[Tokens]:
        """Yield the tasks' results in order; each worker has one task at a time."""
        self._start()
        idle, busy, results = list(self._workers), dict[Connection, int](), dict[int, Any]()
        sent = done = 0
        for number in range(len(tasks)):
            while number not in results:
                while idle and sent < len(tasks):
                    pipe = idle.pop()
                    self._send(pipe, pickle.dumps(tasks[sent]))
                    busy[pipe], sent = sent, sent + 1
                for ready in wait(list(busy), _POLL_SECONDS):
                    assert isinstance(ready, Connection)  # noqa: S101  (there is nothing else)
                    results[busy.pop(ready)] = self._receive(ready)
                    idle.append(ready)
                self._on_progress(done, rows)
            result = results.pop(number)
            if isinstance(result, Exception):
                raise result
            part = unpack(result)
            done += part.total
            yield part

    def _start(self) -> None:
        if self._workers:
            return
        context = multiprocessing.get_context("spawn")  # torch has threads, which forbids forking
        resource_tracker.ensure_running()  # it would unblock the signals that are blocked next
        # Signals are handled by the engine, which then ends its workers.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for _ in range(self._wanted):
                own, other = context.Pipe()
                worker = context.Process(
                    target=run_worker, args=(other,), name="tokenise", daemon=True
                )
                worker.start()
                other.close()
                self._workers[own] = worker
        except OSError as error:
            raise UserError(
                f"a worker process for data.workers cannot be started: {error}; set data.workers "
                "to 0",
                1,
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        tokenizer = pickle.dumps(self._tokenizer)
        for pipe in self._workers:
            self._send(pipe, tokenizer)

    def _send(self, pipe: Connection, data: bytes) -> None:
        try:
            pipe.send_bytes(data)
        except OSError:
            raise self._worker_ended(pipe) from None

    def _receive(self, pipe: Connection) -> Any:
        try:
            return pipe.recv()
        except (EOFError, OSError):
            raise self._worker_ended(pipe) from None

    def _worker_ended(self, pipe: Connection) -> UserError:
        """Return the error for a worker that has closed its pipe."""
        worker = self._workers[pipe]
        worker.join(1.0)
        status = worker.exitcode
        what = "ended unexpectedly"
        if status is not None and status < 0:
            hint = " (out of memory?)" if -status == signal.SIGKILL else ""
            what = f"was killed by {signal.Signals(-status).name}{hint}"
        return UserError(
            f"a worker process that tokenises the data {what}; start the run again with fewer "
            "data.workers, or with 0",
            1,
        )

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        for worker in self._workers.values():
            worker.kill()
        for pipe, worker in self._workers.items():
            worker.join()
            pipe.close()
        self._workers.clear()


def workers_of_rank(workers: int) -> int:
    """Return how many of a job's workers this process starts: in training with several processes,
    rank 0 reads the data first, alone; the others read at the same time and divide the workers."""
    process = process_rank()
    return workers if process.rank == 0 else workers // process.local_size


def characters(row: Row | str) -> int:
    """Return the number of characters of a row or a text."""
    if isinstance(row, str):
        return len(row)
    return len(row.text or "") + sum(len(turn.content) for turn in row.messages)


def chunk_bounds(rows: Sequence[Row | str]) -> list[tuple[int, int]]:
    """Return the start and end of consecutive chunks of about `CHUNK_CHARACTERS` characters."""
    bounds = []
    start = total = 0
    for end, row in enumerate(rows, start=1):
        total += characters(row)
        if total >= CHUNK_CHARACTERS or end == len(rows):
            bounds.append((start, end))
            start, total = end, 0
    return bounds


def run_worker(pipe: Connection) -> None:
    """Main function of a worker: receive a tokenizer, then tasks, until the engine closes the
    pipe."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread per worker
    with contextlib.suppress(EOFError, OSError):  # raised by the pipe alone
        tokenizer = pickle.loads(pipe.recv_bytes())  # noqa: S301  (sent by the engine)
        silence_transformers: Any = transformers.utils.logging.set_verbosity_error
        silence_transformers()  # as in the engine
        # Lists of integers form no cycles; collecting automatically would cost a sixth of the time.
        gc.freeze()
        gc.disable()
        while True:
            pipe.send(_run_task(tokenizer, *pipe.recv()))
            gc.collect()


def _run_task(tokenizer: Any, function: TokeniseFunction, rows: Any, max_length: int) -> Any:
    try:
        return pack(function(rows, tokenizer, max_length))
    except UserError as error:
        return error
    except Exception as error:
        traceback.print_exc()
        return _picklable(error)


def _picklable(error: Exception) -> Exception:
    """Return the error, or a `RuntimeError` with its text where it cannot be pickled."""
    try:
        copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # other packages' classes may raise anything
        copy = None
    return error if type(copy) is type(error) else RuntimeError(f"{type(error).__name__}: {error}")
