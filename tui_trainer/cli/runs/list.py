"""`runs list`: the runs of a folder, filtered and sorted."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tui_trainer.cli.common import options, output
from tui_trainer.cli.monitor import check_folder
from tui_trainer.contracts.errors import UserError
from tui_trainer.text import formats

if TYPE_CHECKING:  # numpy: a tenth of a second, loaded when there is a run to read
    from tui_trainer.watch.run_location import RunLocation
    from tui_trainer.watch.snapshots import RunSummary

Columns = dict[str, dict[Path, str]]  # texts of scores: by the score, then by the run

_HEADERS = (
    "NAME", "STATUS", "STEP", "LOSS", "BEST VAL", "TREND", "TOK/S", "REMAINING", "STARTED",
)  # fmt: skip


@click.command("list")
@click.option("--filter", "conditions", default="", metavar="TEXT", help="Words and conditions: "
              "'loss<2 status:running -smoke lora.rank=16 test.accuracy>0.9'.")  # fmt: skip
@click.option("--sort", "order", default="", metavar="FIELD", help="loss, step, best, val, lr, "
              "speed, eta, age, name, test.accuracy ...; -FIELD reverses the order.")  # fmt: skip
@options.json_option("Print one JSON document.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def list_runs(context: click.Context, conditions: str, order: str, as_json: bool) -> None:
    """List the runs of a folder, ours and other tools', newest first.

    A score of an evaluation is NAME.METRIC, such as test.accuracy, or METRIC for the newest
    evaluation that has it; it has a column where --filter or --sort names it.

    \b
    Examples:
      tui-trainer runs list
      tui-trainer runs list --filter 'loss<2 status:completed' --sort loss
      tui-trainer runs list --filter 'test.loss<2' --sort test.accuracy
      tui-trainer runs list --runs-dir sample_runs --json
    """
    folder = options.runs_dir(context)
    given = context.find_object(options.GlobalOptions)
    if folder.exists() or (given is not None and given.runs_dir is not None):
        check_folder(folder)
    found, total, columns = _chosen(folder, conditions, order)
    if as_json:
        from tui_trainer.cli.runs import run_documents

        output.document([run_documents.listed(run) for run in found])
    elif found:
        output.data(_table(found, columns))
    elif total:
        runs = formats.plural(total, "run")
        output.message(f"no match among {runs} in {formats.escape(str(folder))}; change --filter")
    else:
        output.message(_no_runs(folder))


def _chosen(folder: Path, conditions: str, order: str) -> tuple[list[RunSummary], int, Columns]:
    """The matching runs in order, the number of all runs, and the scores that were named, as
    columns. Raises `UserError`."""
    if not (conditions or order or folder.exists()):
        return [], 0, {}
    from tui_trainer.watch.query import fields, query, run_scores
    from tui_trainer.watch.runs import resolve

    summaries, warnings = resolve.find_all(folder)
    for sentence in warnings:
        output.message(f"warning: {formats.escape(sentence)}")
    name = order.removeprefix("-")
    wanted = query.parse(conditions)
    configs: dict[Path, dict[str, Any]] = {}
    scores: dict[Path, dict[str, float]] = {}
    field = fields.BY_NAME.get(name)
    if wanted.needs_config or wanted.problem is not None or (name and field is None):
        scores = {item.location.path: _scores_of(item.location) for item in summaries}
    known = run_scores.names_of(scores)
    if name and field is None:
        if name not in known:
            problem = query.parse(f"{name}=1", known or {""}).problem
            raise UserError(f"--sort {order}: {problem or 'no such field'}")
        field = run_scores.field_of(name, scores)
    if wanted.needs_config or wanted.problem is not None:
        for item in summaries:
            path = item.location.path
            configs[path] = {**scores[path], **_config_of(item.location)}
        wanted = query.parse(conditions, {key for config in configs.values() for key in config})
    if wanted.problem is not None:
        raise UserError(f"--filter: {wanted.problem}")
    now = time.time()
    found = [
        item.summary
        for item in summaries
        if wanted.matches(item.summary, now, configs.get(item.location.path))
    ]
    falling = field is not None and field.descending != order.startswith("-")
    shown = dict.fromkeys([*run_scores.named_in(wanted, known), *([name] if name in known else [])])
    columns = {
        score: {run.path: run_scores.text_of(score, scores.get(run.path, {})) for run in found}
        for score in shown
    }
    return fields.sort_items(found, field, falling, now), len(summaries), columns


def _scores_of(location: RunLocation) -> dict[str, float]:
    """The scores of the evaluations of a run, by the names that conditions use."""
    from tui_trainer.evaluation import metrics
    from tui_trainer.watch.runs.details import run_details

    return metrics.named_values(run_details.read_scores(location).scores)


def _config_of(location: RunLocation) -> dict[str, Any]:
    """The configuration of a run; empty where it cannot be read, which its row shows."""
    from tui_trainer.watch import error_boundary
    from tui_trainer.watch.runs.details import flat_config, run_details

    try:
        if location.kind == "run":
            return flat_config.config_of(location.path)
        return dict(run_details.read_whole(location).config)
    except Exception as error:
        error_boundary.caught(error, location.path)
        return {}


def _table(found: list[RunSummary], columns: Columns) -> str:
    other_tools = any(run.tool != "tui-trainer" for run in found)
    has_problems = any(run.problem for run in found)
    headers = (
        *_HEADERS,
        *(formats.escape(score).upper() for score in columns),
        *(("TOOL",) if other_tools else ()),
        "ID",
        *(("PROBLEM",) if has_problems else ()),
    )
    rows = [
        (
            *_row(run),
            *(texts[run.path] for texts in columns.values()),
            *((run.tool,) if other_tools else ()),
            run.id,
            *((run.problem,) if has_problems else ()),
        )
        for run in found
    ]
    return output.table(headers, rows)


def _row(run: RunSummary) -> tuple[str, ...]:
    from tui_trainer.watch.query.fields import BY_NAME

    remaining = BY_NAME["eta"].number
    return (
        run.name,
        run.status,
        formats.steps(run.step, run.total_steps),
        formats.number(run.loss),
        formats.number(run.best_val_loss),
        formats.change(run.trend),
        formats.number(run.tokens_per_second or None),
        formats.duration(remaining(run, 0.0) if remaining is not None else None),
        formats.moment(run.created_at),
    )


def _no_runs(folder: Path) -> str:
    where = formats.escape(str(folder))
    return f"no runs in {where} yet; start one with tui-trainer train example"
