"""A session that leaves nothing behind, for trying a job out without training it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.engine.control import Control
from tui_trainer.engine.report import Report
from tui_trainer.engine.session import Session
from tui_trainer.store import runs


@contextlib.contextmanager
def scratch_session(job: Job) -> Iterator[Session]:
    """The session that a run of `job` would begin with, in a folder that is deleted afterwards.

    Raises `UserError` as the run would. What it prints is thrown away.
    """
    from tui_trainer.engine import setup  # torch: seconds

    with tempfile.TemporaryDirectory(prefix="tui-trainer-") as place:
        folder = runs.create_run(Path(place), job, "scratch")
        info = folder.info()
        assert info is not None  # noqa: S101  (just written)
        report, control = Report(folder), Control(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                session = setup.prepare(folder, info, report, control, None)
                session.model.train()
                yield session
                session.writer.wait()
        finally:
            report.close()


def answer(work: Callable[[Job], object]) -> int:
    """A process's whole life: a job as JSON on standard input, the answer on standard output; an
    error in one sentence on standard error. Gives the exit status."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    warnings.filterwarnings("ignore")
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
        found = work(job)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        print(f"unexpected {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.flush()
    return 0
