"""Telling what is odd about a job before anything is started."""

from __future__ import annotations

from tui_trainer.cli import output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import job_checks
from tui_trainer.text import formats


def refuse(job: Job) -> None:
    """Raises `UserError` for the first thing that cannot work. What is only odd the engine says,
    before it loads anything, so that every screen shows it."""
    for finding in job_checks.check(job):
        if finding.level == "error":
            raise UserError(finding.message)


def tell(job: Job) -> None:
    """As `refuse`, and warnings on standard error, where no run is started that would say them."""
    refuse(job)
    for finding in job_checks.check(job):
        output.say(f"warning: {formats.escape(finding.message)}")
