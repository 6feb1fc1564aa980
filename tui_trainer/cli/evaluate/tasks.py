"""`evaluate --tasks`: a model on tasks of lm-eval, alone or beside another one."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tui_trainer.cli.common import output
from tui_trainer.cli.evaluate import tables
from tui_trainer.cli.evaluate.progress import EvaluationPrinter
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationReport, Paired, TasksRequest
from tui_trainer.contracts.job import Precision, Quantization
from tui_trainer.evaluation import report as reports
from tui_trainer.evaluation import tasks
from tui_trainer.evaluation.target import Target
from tui_trainer.evaluation.tasks import Compared
from tui_trainer.launch.measure import measure
from tui_trainer.text import formats


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the tasks of both models have in common."""

    names: list[str]
    folder: Path | None  # with more tasks
    limit: int | None
    max_length: int | None
    precision: Precision | None
    quantization: Quantization | None


def evaluate_tasks(
    found: Target,
    other: Target | None,
    chosen: TaskOptions,
    name: str | None,
    rows: int,
    *,
    as_json: bool,
) -> int:
    """Measure the tasks, print and write the result; return the exit status. Raises
    `UserError`."""
    tasks.check_installed()
    if found.task != "causal-lm":
        raise UserError(
            f"{found.name} is a classifier, which tasks do not fit: they need a model that writes "
            "answers; measure it on a file with --data"
        )
    if chosen.folder is not None and not chosen.folder.expanduser().is_dir():
        raise UserError(f"--task-files: {chosen.folder} is not a folder")
    name = name or tasks.report_name(chosen.names)
    requests = [_measured(model, chosen) for model in (found, other) if model is not None]
    made = [
        tasks.make(name, model.name, request)
        for model, request in zip((found, other), requests, strict=False)
        if model is not None
    ]
    compared = None
    if other is not None:
        compared = tasks.compare(tasks.results_of(requests[1]), tasks.results_of(requests[0]))
        beside = tasks.beside(other.name, made[1], compared)
        made[0] = msgspec.structs.replace(made[0], against=beside)
    folder = found.evaluations_dir()
    if folder is not None:
        file = reports.write(made[0], folder)
        output.message(f"written to {formats.escape(str(file))}")
    if as_json:
        output.document(
            {
                "evaluation": made[0],
                "against": made[1] if len(made) > 1 else None,
                "comparison": [] if compared is None else list(compared.tests.values()),
                "unpaired": {} if compared is None else compared.unpaired,
            }
        )
        return 0
    _print(made, compared, rows)
    return 0


def _measured(model: Target, chosen: TaskOptions) -> TasksRequest:
    """Measure a model, with progress on standard error; return the finished request."""
    folder = None if chosen.folder is None else str(chosen.folder.expanduser().absolute())
    request = TasksRequest(
        model=model.model,
        adapter=None if model.adapter is None else str(model.adapter),
        tasks=chosen.names,
        task_files=folder,
        limit=chosen.limit,
        max_length=chosen.max_length,
        precision=chosen.precision,
        quantization=chosen.quantization or model.quantization,
        trust_remote_code=model.trust_remote_code,
        journal="",
    )
    request = msgspec.structs.replace(request, journal=str(tasks.file_of(request)))
    printer = EvaluationPrinter(model.name)
    try:
        measure(request, printer.show)
    except KeyboardInterrupt:
        printer.end()
        finished = {result.asked for result in tasks.results_of(request)}
        output.message(
            f"{formats.count(len(finished))} of {formats.plural(len(chosen.names), 'task')} "
            "finished and kept; the same command continues with the others"
        )
        raise
    finally:
        printer.end()
    return request


def _print(made: list[EvaluationReport], compared: Compared | None, rows: int) -> None:
    report, against = made[0], made[1] if len(made) > 1 else None
    others = {found.task: found for found in against.tasks} if against is not None else {}
    lines = []
    for found in report.tasks:
        for metric, measured in found.metrics.items():
            items = formats.steps(found.rows, found.of) if found.of else formats.count(found.rows)
            line = [found.task, items, metric, *_value(measured.value, measured.stderr)]
            if compared is not None:
                other = others[found.task].metrics.get(metric) if found.task in others else None
                theirs = (None, None) if other is None else (other.value, other.stderr)
                known = measured.value is not None and theirs[0] is not None
                change = (measured.value or 0.0) - (theirs[0] or 0.0)
                name = f"{found.task} {metric}"
                test = compared.tests.get(name)
                line += [
                    *_value(*theirs),
                    f"{change:+.3f}" if known else formats.MISSING,
                    compared.unpaired.get(name, "") if test is None else _verdict(test),
                ]
            lines.append([formats.escape(cell) for cell in line])
    headers = ["task", "items", "metric", report.target, "± standard error"]
    if against is not None:
        headers += [against.target, "± standard error", "change", "test"]
    output.data(output.table([formats.escape(header) for header in headers], lines))
    tables.print_rows(report, against, rows)


def _verdict(test: Paired) -> str:
    if test.p is not None:
        return f"{test.verdict} ({test.test}, p = {formats.number(test.p, 2)})"
    return f"{test.verdict} ({test.test})"


def _value(value: float | None, stderr: float | None) -> tuple[str, str]:
    return formats.score(value), formats.MISSING if stderr is None else formats.score(stderr)
