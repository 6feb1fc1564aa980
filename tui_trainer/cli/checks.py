"""Telling what is odd about a job before anything is started."""

from __future__ import annotations

from tui_trainer.cli import output
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.store import checks


def tell(job: Job) -> None:
    """Warnings on standard error. Raises `UserError` for the first thing that cannot work."""
    found = checks.check(job)
    wrong = next((finding for finding in found if finding.level == "error"), None)
    if wrong is not None:
        raise UserError(wrong.message)
    for finding in found:
        output.say(f"warning: {output.escape(finding.message)}")
