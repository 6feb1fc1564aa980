"""Measuring the saved adapter on `data.test`, once, at the end of a run."""

from __future__ import annotations

import time

import msgspec

from tui_trainer.contracts.errors import UserError, error_text, is_out_of_memory
from tui_trainer.contracts.evaluation import EvaluationProgress, EvaluationReport, EvaluationRequest
from tui_trainer.contracts.runs.run import Command
from tui_trainer.engine.measure.measure import measure
from tui_trainer.engine.state.session import Session
from tui_trainer.evaluation import journal, metrics, text_scores
from tui_trainer.evaluation import report as reports
from tui_trainer.store.data_sources import file_list
from tui_trainer.store.runs.run_folder import hash_files
from tui_trainer.text import formats

NAME = "test"  # of the evaluation
_PROGRESS_SECONDS = 0.5
_SHOWN = ("loss", "perplexity", "accuracy", "f1_macro", "exact_match", "token_f1", "rougeL")


class _EndedError(Exception):
    """A stop or cancel reached the run while its test data was measured."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.command)
        self.command = command


def measure_test(session: Session) -> None:
    """Measure the adapter as it was saved, and write `evaluations/test.json`.

    Where that is not possible a warning is logged, with the command that measures it later: the
    adapter is complete without it.
    """
    run, step = session.report, session.state.step
    run.set_state("evaluating", "measuring the test data")
    later = f"tui-trainer evaluate {session.folder.path.name} --name {NAME} --data FILE"
    try:
        found = _measure(session)
    except _EndedError as ended:
        run.event(
            "command",
            step,
            f"{ended.command.command} while the test data was measured; continue with: {later}",
            id=ended.command.id,
            detail={"command": ended.command.command, "accepted": True},
        )
        return
    except Exception as error:
        if not isinstance(error, UserError | OSError) and not is_out_of_memory(error):
            raise
        run.event(
            "warning",
            step,
            f"the test data is not measured: {error_text(error)}; measure it with: {later}",
        )
        return
    for notice in found.notices:
        run.event("warning", step, f"test data: {notice}")
    values = [
        f"{name} {formats.number(value) if name in metrics.LOSSES else formats.score(value)}"
        for name, value in found.metrics.items()
        if name in _SHOWN
    ]
    run.event(
        "evaluation",
        step,
        f"test data, {formats.plural(found.rows, 'row')}: {', '.join(values)}",
        detail={"test": found.metrics},
    )


def _measure(session: Session) -> EvaluationReport:
    job = session.job
    files = file_list(job.data.test)
    data_hash, _ = hash_files(files)
    request = EvaluationRequest(
        model=job.model,
        adapter=str(session.folder.adapter_dir),
        task=job.task,
        labels=list(session.dataset.labels),
        files=[str(file) for file in files],
        columns=job.data.columns,
        trained_on=[str(file) for file in file_list(job.data.train)],
        max_length=job.data.max_length,
        answers=job.task == "causal-lm",
        quantization=job.quantization,
        trust_remote_code=job.trust_remote_code,
        journal="",
    )
    file = journal.file_of(request, data_hash)
    request = msgspec.structs.replace(request, journal=str(file))
    shown = 0.0

    def on_progress(progress: EvaluationProgress) -> None:
        nonlocal shown
        command = session.control.end_command()
        if command is not None:
            raise _EndedError(command)
        if progress.total and time.monotonic() - shown > _PROGRESS_SECONDS:
            shown = time.monotonic()
            rows = formats.steps(progress.done, progress.total)
            session.report.set_state("evaluating", f"test data: {progress.phase} {rows}")

    measure(request, on_progress)
    wanted = metrics.names_of(job.task)
    if not text_scores.has_sacrebleu():
        wanted = tuple(name for name in wanted if name not in metrics.CORPUS)
    scored = reports.Scored(journal.read(file), job.task, wanted, request.labels)
    if not scored.values:
        raise UserError("no row has anything that can be measured")
    found = reports.make(NAME, session.info.name, request, data_hash, scored)
    reports.write(found, session.folder.evaluations_dir)
    return found
