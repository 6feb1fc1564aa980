"""What was found in the job and its data, left in the run folder before training."""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.data import SCHEMA
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.engine.data.data_notices import summary
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.store import atomic, job_checks, jobs
from tui_trainer.store.runs.run_folder import RunFolder, hash_files

DATA_MISSING = "data.json is not written, so that a resume cannot tell whether the data changed"


def check_unchanged(folder: RunFolder, dataset: Dataset) -> None:
    """Raises `UserError` where the run began with other examples, or divided them otherwise."""
    former = folder.data()
    if former is None or former.schema != SCHEMA:
        return
    if former.fingerprint == dataset.report.fingerprint:
        return
    counts = (
        f"it had {former.train.examples:,} training and {former.validation.examples:,} validation "
        f"examples, now there are {dataset.report.train.examples:,} and "
        f"{dataset.report.validation.examples:,}, or their text is another"
    )
    if _same_files(folder):
        raise UserError(
            "the data files are as they were when the run began, but today's versions read other "
            f"examples from them: {counts}; resume with the versions in run.json, or start a new "
            "run"
        )
    raise UserError(
        f"the data changed since the run began: {counts}; put the files back, or start a new run"
    )


def _same_files(folder: RunFolder) -> bool:
    """Whether the job's data files hold what they held when the run was made."""
    info = folder.info()
    if info is None:
        return False
    try:
        return hash_files(jobs.data_files(info.job))[0] == info.data_hash
    except (OSError, UserError):
        return False


def tell_findings(report: RunReporter, job: Job, *, again: bool) -> None:
    """A warning for what is odd about the job itself, unless the run was told before. Raises
    `UserError` for what cannot work."""
    for finding in job_checks.check(job):
        if finding.level == "error":
            raise UserError(finding.message)
        if not again:
            report.event("warning", report.step, finding.message, detail={"key": finding.key})


def tell(folder: RunFolder, report: RunReporter, dataset: Dataset) -> None:
    """Writes `data.json` and one `data` event, and a warning for everything odd."""
    if folder.data() is None:
        try:
            atomic.write_json(folder.data_file, dataset.report)
        except OSError as error:
            if not atomic.is_full(error):
                raise
            report.event("warning", report.step, f"the disk is full: {DATA_MISSING}")
    detail = msgspec.to_builtins(dataset.report)
    words = f"{summary(dataset.report)}{'; tokens from the cache' if dataset.from_cache else ''}"
    report.event("data", report.step, words, detail=detail)
    for notice in dataset.notices:
        report.event("warning", report.step, notice)
