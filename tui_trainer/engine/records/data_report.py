"""Findings about the job and its data, written to the run folder before training."""

from __future__ import annotations

import math

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import (
    SCHEMA,
    LeftOutRows,
    PartLeftOut,
    TooManyLeftOut,
)
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.engine.data.data_notices import summary, unanswered_reason
from tui_trainer.engine.data.dataset import Dataset
from tui_trainer.engine.records.run_reporter import RunReporter
from tui_trainer.store import atomic, job_checks, jobs
from tui_trainer.store.runs.run_folder import RunFolder, hash_files
from tui_trainer.text.formats import count

_MOST_REASONS = 3  # in a sentence
DATA_MISSING = "data.json is not written, so a resume cannot check whether the data changed"


class LeftOutError(UserError):
    """More rows would be left out than the job allows."""

    def __init__(self, rows: TooManyLeftOut) -> None:
        super().__init__(rows.message())
        self.detail = {"left_out": msgspec.to_builtins(rows)}


def check_unchanged(folder: RunFolder, info: RunInfo, dataset: Dataset) -> None:
    """Raise `UserError` where the run started with other examples or another split."""
    former = folder.data()
    if former is None or former.schema != SCHEMA:
        return
    if former.fingerprint == dataset.report.fingerprint:
        return
    counts = (
        f"it had {count(former.train.examples)} training and {count(former.validation.examples)} "
        f"validation examples, now there are {count(dataset.report.train.examples)} and "
        f"{count(dataset.report.validation.examples)}, or their text differs"
    )
    if _same_files(info):
        raise UserError(
            "the data files are unchanged since the run started, but the installed versions read "
            f"other examples from them: {counts}; resume with the versions in run.json, or start "
            "a new run"
        )
    raise UserError(
        f"the data has changed since the run started: {counts}; put the files back, or start a new "
        "run"
    )


def _same_files(info: RunInfo) -> bool:
    """Return whether the data files have the same content as when the run was created."""
    try:
        return hash_files(jobs.data_files(info.job))[0] == info.data_hash
    except UserError:
        return False


def report_findings(report: RunReporter, job: Job, processes: int, *, resumed: bool) -> None:
    """Log a warning for each suspicious setting of the job, unless the run is resumed and they were
    logged before. Raises `UserError` for settings that cannot work with so many processes, which
    torchrun or the number of GPUs may decide."""
    findings = job_checks.check(job)
    if processes > 1:
        findings = job_checks.process_errors(job) + findings
    for finding in findings:
        if finding.level == "error":
            raise UserError(finding.message)
        if not resumed:
            report.event("warning", report.step, finding.message, detail={"key": finding.key})


def check_left_out(job: Job, dataset: Dataset, *, resumed: bool) -> None:
    """Raise `LeftOutError` where a larger share of the training or the validation rows is left out
    than the job allows, unless the run is resumed."""
    if resumed:
        return
    parts = []
    share = 0.0
    for part, name in (
        (dataset.report.train, "training"),
        (dataset.report.validation, "validation"),
    ):
        out = sum(item.rows for item in part.reasons()) + part.unanswered
        if not out:
            continue
        # Also of a part that is within the limit: the proposed value replaces the limit.
        share = max(share, math.ceil(out * 100 / part.rows) / 100)  # at least out / rows
        if out / part.rows <= job.data.allow_dropped:
            continue
        reasons = part.reasons()[:_MOST_REASONS]
        if part.unanswered:
            reasons.append(LeftOutRows(reason=unanswered_reason(job), rows=part.unanswered))
        parts.append(PartLeftOut(part=name, rows=part.rows, left_out=out, reasons=reasons))
    if parts:
        raise LeftOutError(TooManyLeftOut(parts=parts, allow_dropped=share))


def report_data(folder: RunFolder, report: RunReporter, dataset: Dataset) -> None:
    """Write `data.json`, one `data` event, and a warning for each notice."""
    if folder.data() is None:
        try:
            atomic.write_json(folder.data_file, dataset.report)
        except OSError as error:
            if not atomic.is_full(error):
                raise
            report.event("warning", report.step, f"the disk is full: {DATA_MISSING}")
    detail = msgspec.to_builtins(dataset.report)
    message = f"{summary(dataset.report)}{'; tokens from the cache' if dataset.from_cache else ''}"
    report.event("data", report.step, message, detail=detail)
    for notice in dataset.notices:
        report.event("warning", report.step, notice)
