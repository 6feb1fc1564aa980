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
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

import transformers

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.files.row_store import characters
from tui_trainer.engine.data.rows import Row
from tui_trainer.engine.data.tokens.token_arrays import PackedTokens, Tokens, pack
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
        self, function: TokeniseFunction, rows: Iterable[Row | str], count: int, max_length: int
    ) -> Iterator[PackedTokens]:
        """Yield what `function` gives for the `count` rows, in their order, piece by piece.

        The result, and the first error, do not depend on the number of workers. Raises
        `UserError` also where a worker is killed.
        """
        chunks = chunked(rows)
        in_workers = self._wanted > 0
        if in_workers and not self._workers:
            first: list[list[Row | str]] = []
            size = 0
            for chunk in chunks:
                first.append(chunk)
                size += sum(map(_characters, chunk))
                if size >= LEAST_CHARACTERS:
                    break
            chunks = chain(first, chunks)
            in_workers = size >= LEAST_CHARACTERS
        parts = (
            self._run_in_workers(((function, chunk, max_length) for chunk in chunks), count)
            if in_workers
            else (pack(function(chunk, self._tokenizer, max_length)) for chunk in chunks)
        )
        done = 0
        for part in parts:
            done += part.total
            self._on_progress(done, count)
            yield part

    def _run_in_workers(
        self, tasks: Iterator[tuple[TokeniseFunction, list[Row | str], int]], rows: int
    ) -> Iterator[PackedTokens]:
        """Yield the tasks' results in order; each worker has one task at a time."""
        self._start()
        idle, busy, results = list(self._workers), dict[Connection, int](), dict[int, Any]()
        sent = number = done = 0
        while True:
            while number not in results:
                while idle and (task := next(tasks, None)) is not None:
                    pipe = idle.pop()
                    self._send(pipe, pickle.dumps(task))
                    busy[pipe], sent = sent, sent + 1
                if not busy:
                    return
                for ready in wait(list(busy), _POLL_SECONDS):
                    assert isinstance(ready, Connection)  # noqa: S101  (there is nothing else)
                    results[busy.pop(ready)] = self._receive(ready)
                    idle.append(ready)
                self._on_progress(done, rows)
            result = results.pop(number)
            if isinstance(result, Exception):
                raise result
            number += 1
            done += result.total
            yield result

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


def _characters(row: Row | str) -> int:
    return len(row) if isinstance(row, str) else characters(row)


def chunked(rows: Iterable[Row | str]) -> Iterator[list[Row | str]]:
    """Yield consecutive rows of together about `CHUNK_CHARACTERS` characters."""
    chunk: list[Row | str] = []
    size = 0
    for row in rows:
        chunk.append(row)
        size += _characters(row)
        if size >= CHUNK_CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


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
