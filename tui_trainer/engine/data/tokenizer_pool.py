"""Who tokenises rows: this process, or workers of its own where a job wants them.

Each worker has a pipe of its own, and reads and writes nothing else. So whoever dies is noticed
at once, whatever it was doing: a worker's end closes its pipe, and the engine's end closes all of
them, upon which the workers end too. (The workers of an executor share a pipe: one that is killed
while it writes leaves the others, and the engine, waiting for the rest for ever.)
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
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import TracebackType
from typing import Any, Self

import transformers

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.row_formats import Row
from tui_trainer.engine.data.token_cache import Tokens, has_own_code, pack, unpack
from tui_trainer.engine.dist_env import process_rank

# Tokenises rows with a tokenizer, to at most so many tokens each; known by name to a worker.
Work = Callable[[Any, Any, int], Tokens]
# Told how many of how many rows are done, every now and then; may raise, which ends the work.
Between = Callable[[int, int], None]

CHUNK = 400_000  # characters that are tokenised at once: about a quarter of a second
# With fewer characters workers take longer to start than they save: with two on two virtual cores
# 8 million took 7.5 seconds with them and without, 26 million 15 seconds instead of 25.
LEAST = 10_000_000
_LOOK_SECONDS = 0.2
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class TokenizerPool:
    """A tokenizer and those who use it. Workers are started for the first rows that are worth it,
    and end with `close`."""

    def __init__(self, tokenizer: Any, workers: int = 0, between: Between | None = None) -> None:
        self._tokenizer = tokenizer
        self._wanted = 0 if has_own_code(tokenizer) else workers
        self._between = between or (lambda done, total: None)
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

    def tokenise(self, work: Work, rows: Sequence[Row | str], max_length: int) -> Tokens:
        """What `work` gives for the rows in their order, whoever does it, and its first error.

        Raises `UserError` too where a worker is killed.
        """
        chunks = cut(rows)
        shared = self._wanted > 0 and (bool(self._workers) or sum(map(size, rows)) >= LEAST)
        ids: list[list[int]] = []
        learned: list[list[int]] = []
        longer = 0
        here = (work(rows[start:end], self._tokenizer, max_length) for start, end in chunks)
        tasks = [(work, rows[start:end], max_length) for start, end in chunks] if shared else []
        for part in self._shared_out(tasks, len(rows)) if shared else here:
            ids += part.ids
            learned += part.learned
            longer += part.longer
            self._between(len(ids), len(rows))
        return Tokens(ids, learned, longer)

    def _shared_out(
        self, tasks: list[tuple[Work, Sequence[Row | str], int]], rows: int
    ) -> Iterator[Tokens]:
        """The tasks' results in order; each worker has one at a time."""
        self._start()
        idle, busy, answers = list(self._workers), dict[Connection, int](), dict[int, Any]()
        given = done = 0
        for number in range(len(tasks)):
            while number not in answers:
                while idle and given < len(tasks):
                    line = idle.pop()
                    self._send(line, pickle.dumps(tasks[given]))
                    busy[line], given = given, given + 1
                for ready in wait(list(busy), _LOOK_SECONDS):
                    assert isinstance(ready, Connection)  # noqa: S101  (there is nothing else)
                    answers[busy.pop(ready)] = self._receive(ready)
                    idle.append(ready)
                self._between(done, rows)
            answer = answers.pop(number)
            if isinstance(answer, Exception):
                raise answer
            part = unpack(answer)
            done += len(part.ids)
            yield part

    def _start(self) -> None:
        if self._workers:
            return
        context = multiprocessing.get_context("spawn")  # torch has threads, which forbids forking
        resource_tracker.ensure_running()  # it unblocks what is blocked next
        # Signals are for the engine, which then ends its workers: they have them blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        try:
            for _ in range(self._wanted):
                own, other = context.Pipe()
                worker = context.Process(target=serve, args=(other,), name="tokenise", daemon=True)
                worker.start()
                other.close()
                self._workers[own] = worker
        except OSError as error:
            raise UserError(f"data.workers: no worker can be started: {error}", 1) from error
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        tokenizer = pickle.dumps(self._tokenizer)
        for line in self._workers:
            self._send(line, tokenizer)

    def _send(self, line: Connection, data: bytes) -> None:
        try:
            line.send_bytes(data)
        except OSError:
            raise self._lost(line) from None

    def _receive(self, line: Connection) -> Any:
        try:
            return line.recv()
        except (EOFError, OSError):
            raise self._lost(line) from None

    def _lost(self, line: Connection) -> UserError:
        """What to say of a worker that has closed its pipe."""
        worker = self._workers[line]
        worker.join(1.0)
        status = worker.exitcode
        how = "ended unexpectedly"
        if status is not None and status < 0:
            hint = " (out of memory?)" if -status == signal.SIGKILL else ""
            how = f"was killed by {signal.Signals(-status).name}{hint}"
        return UserError(
            f"a worker process that tokenises {how}; start again, with fewer data.workers or 0", 1
        )

    def close(self) -> None:
        """Ends the workers, whatever they are doing."""
        for worker in self._workers.values():
            worker.kill()
        for line, worker in self._workers.items():
            worker.join()
            line.close()
        self._workers.clear()


def own_share(workers: int) -> int:
    """Of a job's workers those of this process, where several train together: the leader reads
    the data before the others, who do so at the same time and share."""
    process = process_rank()
    return workers if process.rank == 0 else workers // process.local_size


def size(row: Row | str) -> int:
    """How many characters a row or a text has."""
    if isinstance(row, str):
        return len(row)
    return len(row.text or "") + sum(len(turn.content) for turn in row.messages)


def cut(rows: Sequence[Row | str]) -> list[tuple[int, int]]:
    """Where chunks of about `CHUNK` characters begin and end."""
    found = []
    start = held = 0
    for end, row in enumerate(rows, start=1):
        held += size(row)
        if held >= CHUNK or end == len(rows):
            found.append((start, end))
            start, held = end, 0
    return found


def serve(line: Connection) -> None:
    """A worker's whole life: a tokenizer comes first, then tasks, until the engine has gone."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # so many workers, so many threads
    with contextlib.suppress(EOFError, OSError):  # raised by the line alone
        tokenizer = pickle.loads(line.recv_bytes())  # noqa: S301  (the engine's own)
        quieten: Any = transformers.utils.logging.set_verbosity_error
        quieten()  # as in the engine
        # Lists of numbers make no cycles: looking for them all the time costs a sixth.
        gc.freeze()
        gc.disable()
        while True:
            line.send(_answer(tokenizer, *line.recv()))
            gc.collect()


def _answer(tokenizer: Any, work: Work, rows: Any, max_length: int) -> Any:
    try:
        return pack(work(rows, tokenizer, max_length))
    except UserError as error:
        return error
    except Exception as error:
        traceback.print_exc()
        return _portable(error)


def _portable(error: Exception) -> Exception:
    """The error, or the same in words where it cannot travel."""
    try:
        same = pickle.loads(pickle.dumps(error))  # noqa: S301
    except Exception:  # whatever a class that is not ours raises
        same = None
    return error if type(same) is type(error) else RuntimeError(f"{type(error).__name__}: {error}")
