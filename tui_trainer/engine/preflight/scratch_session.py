"""A session in a temporary folder, for measuring a job without training it."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tui_trainer.contracts.job import Job
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.engine.state.command_source import CommandSource
from tui_trainer.engine.state.session import Session
from tui_trainer.store.runs import run_folder


@contextlib.contextmanager
def scratch_session(job: Job) -> Iterator[Session]:
    """Yield the session that a run of `job` would start with, in a folder that is deleted
    afterwards; its output is suppressed. Raises `UserError` as the run would."""
    from tui_trainer.engine import setup  # torch: seconds

    with tempfile.TemporaryDirectory(prefix="tui-trainer-") as temporary:
        folder = run_folder.create_run(Path(temporary), job, "scratch")
        info = folder.info()
        assert info is not None  # noqa: S101  (just written)
        report, control = RunReporter(folder), CommandSource(folder)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                session = setup.prepare(folder, info, report, control, None)
                session.model.train()
                yield session
                session.writer.wait()
        finally:
            report.close()
