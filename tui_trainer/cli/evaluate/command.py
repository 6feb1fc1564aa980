"""`evaluate`: scores of a run, adapter or model on a file, and the gate."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

from tui_trainer.cli.common import options, output
from tui_trainer.cli.evaluate import tables
from tui_trainer.cli.evaluate.progress import EvaluationPrinter
from tui_trainer.cli.evaluate.tasks import TaskOptions, evaluate_tasks
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.evaluation import EvaluationReport, EvaluationRequest
from tui_trainer.contracts.job import Precision, Quantization
from tui_trainer.evaluation import gate as gates
from tui_trainer.evaluation import golden, journal, metrics, target, text_scores
from tui_trainer.evaluation import report as reports
from tui_trainer.evaluation import tasks as lm_tasks
from tui_trainer.evaluation.target import Target
from tui_trainer.launch.measure import measure
from tui_trainer.store import paths
from tui_trainer.store.data_sources import resolve_files
from tui_trainer.store.runs.run_folder import hash_files
from tui_trainer.text import formats

BLOCKED = 1
_DEFAULT = click.core.ParameterSource.DEFAULT
# Names of the parameters of options that differ from the option's.
_PARAMETERS = {
    "metric": "wanted",
    "golden": "golden_files",
    "gate": "use_gate",
    "max-new-tokens": "max_new_tokens",
}


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What the evaluation of every model of a call has in common."""

    metrics: list[str]
    named: bool  # whether the metrics were asked for by name
    limit: int | None
    max_new_tokens: int
    max_length: int | None
    precision: Precision | None
    quantization: Quantization | None


@click.command()
@click.argument("reference", metavar="RUN|ADAPTER|MODEL")
@click.option(
    "--data",
    "data",
    multiple=True,
    metavar="FILE",
    help="File of questions and answers, or of texts and labels; may be repeated.",
)
@click.option(
    "--against", metavar="OTHER", help="Also evaluate this run, adapter or model; or base."
)
@click.option(
    "--metric", "wanted", multiple=True, metavar="NAME", help="Only this; may be repeated."
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first N rows.")
@click.option(
    "--tasks", metavar="NAMES", help="Instead of a file: tasks of lm-eval, with commas between."
)
@click.option(
    "--task-files",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="More tasks for --tasks, as lm-eval's YAML files.",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    metavar="N",
    help="Most tokens of an answer.",
)
@click.option(
    "--max-length",
    type=click.IntRange(8),
    metavar="N",
    help="Most tokens of a row in the loss.  [default: that of the run, else as the base reads]",
)
@click.option(
    "--precision",
    type=click.Choice(typing.get_args(Precision)),
    help="Of the weights.  [default: fp32 on a CPU, bf16 on a GPU]",
)
@click.option(
    "--quantization",
    type=click.Choice(typing.get_args(Quantization)),
    help="Of the base.  [default: that of the run, else none]",
)
@click.option("--trust-remote-code", is_flag=True, help="Execute Python code of the model.")
@click.option("--name", metavar="NAME", help="Name of the result.  [default: that of the file]")
@click.option(
    "--rows",
    type=click.IntRange(0),
    default=10,
    show_default=True,
    metavar="N",
    help="Rows printed, the worst first.",
)
@click.option("--gate", "use_gate", is_flag=True, help="Decide whether it may replace the other.")
@click.option(
    "--golden",
    "golden_files",
    multiple=True,
    metavar="FILE",
    help="Golden set of the gate; may be repeated.  [default: golden.jsonl of the home folder]",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    default=gates.THRESHOLD,
    show_default=True,
    metavar="X",
    help="By how much the gate lets a score be lower.",
)
@options.json_option("Print one JSON document with every row.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def evaluate(
    context: click.Context,
    reference: str,
    data: tuple[str, ...],
    against: str | None,
    wanted: tuple[str, ...],
    limit: int | None,
    tasks: str | None,
    task_files: Path | None,
    max_new_tokens: int,
    max_length: int | None,
    precision: Precision | None,
    quantization: Quantization | None,
    trust_remote_code: bool,
    name: str | None,
    rows: int,
    use_gate: bool,
    golden_files: tuple[str, ...],
    threshold: float,
    as_json: bool,
) -> int:
    """Measure a run, an adapter or a model on a file.

    Of a model that writes answers: loss, perplexity, exact match, token F1, BLEU, chrF and ROUGE;
    of a classifier: accuracy, precision, recall and F1. What is measured is kept: after Ctrl-C the
    same command continues. The result of a run is written to its evaluations/NAME.json.

    With --gate the same rows are compared with OTHER (default: the base). A lost answer of a golden
    set, or a score that is lower than chance explains, ends with exit status 1.

    With --tasks a model that writes answers is measured on tasks of lm-eval (an extra:
    pip install "tui-trainer[lm-eval]"), always with its chat template.

    \b
    Examples:
      tui-trainer evaluate lighthouse --data test.jsonl --against base
      tui-trainer evaluate builtin --data test.jsonl --metric loss
      tui-trainer evaluate taught-20261121-1 --gate --golden golden.jsonl
      tui-trainer evaluate lighthouse --tasks arc_easy --limit 200 --against base
    """
    if name is not None:
        paths.safe_name(name, "--name")
    if tasks is not None:
        _refuse_file_options(context)
    elif task_files is not None:
        raise UserError("--task-files has no effect without --tasks; name the tasks")
    runs_dir = options.runs_dir(context)
    found = target.find(reference, runs_dir, trust_remote_code=trust_remote_code)
    other = _other(found, against, runs_dir, use_gate=use_gate, trusted=trust_remote_code)
    if tasks is not None:
        wanted_tasks = TaskOptions(
            names=lm_tasks.names(tasks),
            folder=task_files,
            limit=limit,
            max_length=max_length,
            precision=precision,
            quantization=quantization,
        )
        return evaluate_tasks(found, other, wanted_tasks, name, rows, as_json=as_json)
    chosen = Options(
        metrics=_metrics(wanted, found),
        named=bool(wanted),
        limit=limit,
        max_new_tokens=max_new_tokens,
        max_length=max_length,
        precision=precision,
        quantization=quantization,
    )
    files, sets = _files(data, golden_files, found, use_gate=use_gate)
    models = [found] if other is None else [found, other]
    measured = [
        _evaluate(model, files, chosen, name, golden_set=False) for model in models if files
    ]
    checked = [_evaluate(model, sets, chosen, name, golden_set=True) for model in models if sets]
    for group in (measured, checked):
        if len(group) > 1:
            beside = gates.side_by_side(group[1], group[0])
            group[0] = msgspec.structs.replace(group[0], against=beside)
    folder = found.evaluations_dir()
    if folder is not None:
        for report in (*measured[:1], *checked[:1]):
            file = reports.write(report, folder)
            output.message(f"written to {formats.escape(str(file))}")
    decision = None
    if use_gate:
        decision = gates.decide(
            (checked[1].items, checked[0].items) if checked else ([], []),
            (measured[1].items, measured[0].items) if measured else ([], []),
            threshold,
        )
    groups = [group for group in (measured, checked) if group]
    if as_json:
        output.document(_document(measured or checked, checked if measured else [], decision))
    else:
        for group in groups:
            _print(group, rows)
        if decision is not None:
            tables.print_gate(decision)
    return BLOCKED if decision is not None and not decision.passed else 0


def _refuse_file_options(context: click.Context) -> None:
    """Raise `UserError` for an option that only the measuring on a file has."""
    given = [
        f"--{option}"
        for option in ("data", "metric", "golden", "gate", "threshold", "max-new-tokens")
        if context.get_parameter_source(_PARAMETERS.get(option, option)) is not _DEFAULT
    ]
    if given:
        raise UserError(
            f"{' and '.join(given)} cannot be used together with --tasks: the tasks say what is "
            "measured and how"
        )


def _other(
    found: Target, against: str | None, runs_dir: Path, *, use_gate: bool, trusted: bool
) -> Target | None:
    """The model to compare with. Raises `UserError` for one of another task."""
    if against is None and not use_gate:
        return None
    if against in (None, "base"):
        if found.adapter is None:
            raise UserError(
                f"{found.name} has no adapter, so it is its own base; name what to compare it with "
                "by --against"
            )
        return found.base()
    other = target.find(str(against), runs_dir, trust_remote_code=trusted)
    if other.task != found.task:
        raise UserError(
            f"{found.name} ({found.task}) and {other.name} ({other.task}) cannot be compared: they "
            "are of different tasks"
        )
    return other


def _metrics(wanted: Sequence[str], found: Target) -> list[str]:
    """The metrics to measure. Raises `UserError`; without sacrebleu its metrics are left out where
    they were not asked for by name, with a warning."""
    chosen = metrics.chosen(wanted, found.task)
    corpus = [name for name in chosen if name in metrics.CORPUS]
    if not corpus or text_scores.has_sacrebleu():
        return chosen
    message = f"{' and '.join(corpus)} need sacrebleu; install with: {text_scores.INSTALL}"
    if wanted:
        raise UserError(message, 1)
    output.message(f"warning: not measured: {message}")
    return [name for name in chosen if name not in corpus]


def _files(
    data: Sequence[str], golden_files: Sequence[str], found: Target, *, use_gate: bool
) -> tuple[list[Path], list[Path]]:
    """The data files and the golden sets. Raises `UserError` where there is nothing to measure."""
    resolved = resolve_files(list(data), Path.cwd(), "--data") if data else []
    files = [Path(file) for file in resolved]
    sets = [file for file in files if golden.is_golden(file)]
    files = [file for file in files if file not in sets]
    named = resolve_files(list(golden_files), Path.cwd(), "--golden") if golden_files else []
    sets += [Path(file) for file in named]
    writes = found.task == "causal-lm"
    if sets and not writes:
        raise UserError(f"{found.name} is a classifier, which golden sets of answers do not fit")
    if use_gate and writes and not sets and golden.own_file().exists():
        sets = [golden.own_file()]
    if not files and not sets:
        also = f", or --golden FILE; {golden.own_file()} does not exist" if use_gate else ""
        raise UserError(f"there is nothing to measure on: give --data FILE{also}")
    for file in sets:
        if not golden.read(file):
            raise UserError(f"{file} has no items; add one with: tui-trainer golden add")
    return files, sets


def _evaluate(
    model: Target, files: Sequence[Path], chosen: Options, name: str | None, *, golden_set: bool
) -> EvaluationReport:
    """Measure a model, with progress on standard error, and score it. Raises `UserError`."""
    writes = model.task == "causal-lm"
    named = [metric for metric in chosen.metrics if metric in metrics.ANSWERS]
    data_hash, _ = hash_files(list(files))
    request = EvaluationRequest(
        model=model.model,
        adapter=None if model.adapter is None else str(model.adapter),
        task=model.task,
        labels=model.labels,
        files=[str(file) for file in files],
        golden=golden_set,
        columns={} if golden_set else model.columns,
        trained_on=[] if golden_set else model.trained_on,
        limit=chosen.limit,
        max_length=chosen.max_length or model.max_length,
        max_new_tokens=chosen.max_new_tokens,
        losses=any(metric in metrics.LOSSES for metric in chosen.metrics),
        answers=writes and (bool(named) or golden_set),
        needs_answers=named[0] if chosen.named and named else None,
        precision=chosen.precision,
        quantization=chosen.quantization or model.quantization,
        trust_remote_code=model.trust_remote_code,
        journal="",
    )
    file = journal.file_of(request, data_hash)
    request = msgspec.structs.replace(request, journal=str(file))
    printer = EvaluationPrinter(model.name)
    try:
        measure(request, printer.show)
    except KeyboardInterrupt:
        printer.end()
        if printer.total:
            # Not those of the progress: it counts answers of a batch that is not finished.
            kept = journal.read(file).measured(printer.phase)
            output.message(
                f"{printer.phase}: {formats.count(kept)} of {formats.plural(printer.total, 'row')} "
                "are measured and kept; the same command continues with the others"
            )
        raise
    finally:
        printer.end()
    scored = reports.Scored(journal.read(file), model.task, chosen.metrics, model.labels)
    where = ", ".join(path.name for path in files)
    if not scored.values:
        raise UserError(f"{where}: no row has anything that can be measured")
    for notice in scored.notices:
        output.message(f"warning: {formats.escape(f'{where}: {notice}')}")
    if name is not None and golden_set:
        name = f"{name}-golden"  # beside the data's, which has the name itself
    return reports.make(name or files[0].stem, model.name, request, data_hash, scored)


def _print(group: Sequence[EvaluationReport], rows: int) -> None:
    report, against = group[0], group[1] if len(group) > 1 else None
    files = ", ".join(Path(file).name for file in report.files)
    output.data(f"{formats.escape(report.target)} on {formats.escape(files)}: "
                f"{formats.plural(report.rows, 'row')}")  # fmt: skip
    tables.print_metrics(report)
    if report.classes:
        tables.print_classes(report)
    tables.print_rows(report, against, rows)


def _document(
    group: Sequence[EvaluationReport],
    checked: Sequence[EvaluationReport],
    decision: gates.GateReport | None,
) -> dict[str, object]:
    """The result in JSON; `checked` are the golden sets beside other data."""
    return {
        "evaluation": group[0],
        "against": group[1] if len(group) > 1 else None,
        "comparison": group[0].against.tests if group[0].against is not None else [],
        "golden": list(checked),
        "gate": decision,
    }
