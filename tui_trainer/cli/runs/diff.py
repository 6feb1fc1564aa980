"""`runs diff`: compares the configuration and results of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.watch.runs.details.run_diff import ResultRow, RunDiff
    from tui_trainer.watch.snapshots import RunView

BEST = "*"


@click.command()
@click.argument("names", metavar="RUN RUN [RUN...]", nargs=-1)
@options.json_option("Print one JSON document.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def diff(context: click.Context, names: tuple[str, ...], as_json: bool) -> None:
    """Compare runs: configuration that differs, and results.

    A star marks the better value. RUN is a run's folder or file, its id or its name.

    \b
    Examples:
      tui-trainer runs diff lighthouse lighthouse-2
      tui-trainer runs diff runs/a runs/b runs/c --json
    """
    if len(names) < 2:
        raise UserError("runs diff needs two or more runs, such as tui-trainer runs diff A B")
    from tui_trainer.watch.runs.details.run_details import read_whole
    from tui_trainer.watch.runs.details.run_diff import compare_runs
    from tui_trainer.watch.runs.resolve import find_location

    runs_dir = options.runs_dir(context)
    locations = [find_location(name, runs_dir) for name in names]
    views = [read_whole(location) for location in locations]
    found = compare_runs(views)
    if as_json:
        output.document(_document(views, found))
    else:
        output.data(_text(views, found))


def _document(views: list[RunView], found: RunDiff) -> dict[str, Any]:
    from tui_trainer.cli.runs import run_documents

    return {
        "runs": [run_documents.summary(view.summary) for view in views],
        "config": [
            {"key": item.key, "values": [view.config.get(item.key) for view in views]}
            for item in found.differing
        ],
        "same_keys": found.same,
        "results": [
            {
                "name": measure.name,
                "values": measure.values,
                "steps": measure.steps or None,
                "better": measure.better or None,
                "best": measure.best,
            }
            for measure in found.results
        ],
    }


def _text(views: list[RunView], found: RunDiff) -> str:
    headers = ["", *(formats.escape(view.summary.name) for view in views)]
    rows = [["status", *(view.summary.status for view in views)]]
    if len({view.summary.tool for view in views}) > 1:
        rows.append(["tool", *(view.summary.tool for view in views)])
    if any(view.summary.problem for view in views):
        rows.append(["problem", *(view.summary.problem or formats.MISSING for view in views)])
    rows += [[measure.name, *_values(measure)] for measure in found.results]
    rows.append([""] * len(headers))
    rows += [
        [item.key, *(formats.MISSING if value is None else value for value in item.values)]
        for item in found.differing
    ]
    if not found.differing:
        rows.append(
            ["configuration", *["the same" if found.same else formats.MISSING] * len(views)]
        )
    text = output.table(headers, rows)
    keys = "key of the configuration is", "keys of the configuration are"
    same = formats.plural(found.same, *keys)
    return f"{text}\n\n{BEST} better value; {same} equal in all runs"


def _values(measure: ResultRow) -> list[str]:
    return [
        measure.text(index) + (f" {BEST}" if index in measure.best else "")
        for index in range(len(measure.values))
    ]
