"""Reports errors and warnings about a job before anything is started."""

from __future__ import annotations

from tui_trainer.cli.common import output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import job_checks
from tui_trainer.text import formats


def raise_errors(job: Job) -> None:
    """Raise `UserError` for the first error. Warnings are reported by the engine before it loads
    anything, so that every screen shows them."""
    for finding in job_checks.check(job):
        if finding.level == "error":
            raise UserError(finding.message)


def print_warnings(job: Job) -> None:
    """As `raise_errors`, and prints warnings, for commands that start no run."""
    raise_errors(job)
    for finding in job_checks.check(job):
        output.message(f"warning: {formats.escape(finding.message)}")
