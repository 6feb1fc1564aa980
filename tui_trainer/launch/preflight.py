"""Checks of a job by the engine, in a separate process: estimate, learning-rate sweep."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.launch.engine_process import check_installed
from tui_trainer.store import child_process

T = TypeVar("T")
KILLED = -9


def ask(question: str, job: Job, kind: type[T]) -> T:
    """The result of `python -m tui_trainer.engine.preflight QUESTION` for a resolved job.

    `kind` is the type of the result. Raises `UserError` with the engine's message if it fails.
    """
    check_installed()
    command = child_process.module_command("tui_trainer.engine.preflight", question)
    done = child_process.run(command, msgspec.json.encode(job))
    if done.returncode == 0:
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=kind)
    if done.returncode == KILLED:
        raise UserError(
            "the engine was killed while it tested the job, most likely because memory ran out; "
            "reduce training.batch_size or data.max_length",
            1,
        )
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    last = lines[-1] if lines else f"exit status {done.returncode}"
    raise UserError(last, done.returncode if done.returncode in (1, 2) else 1)
