"""`runs diff`: compares the configuration and results of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.store.runs import evaluation_files
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.watch.runs.details.evaluation_diff import EvaluationDiff, Measured
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
    """Compare runs: configuration that differs, results, and evaluations on the same rows.

    A star marks the better value. RUN is a run's folder or file, its id or its name.

    \b
    Examples:
      tui-trainer runs diff lighthouse lighthouse-2
      tui-trainer runs diff runs/a runs/b runs/c --json
    """
    if len(names) < 2:
        raise UserError("runs diff needs two or more runs, such as tui-trainer runs diff A B")
    from tui_trainer.watch.runs.details.evaluation_diff import compare_evaluations
    from tui_trainer.watch.runs.details.run_details import read_scores, read_whole
    from tui_trainer.watch.runs.details.run_diff import compare_runs
    from tui_trainer.watch.runs.resolve import find_location

    runs_dir = options.runs_dir(context)
    locations = [find_location(name, runs_dir) for name in names]
    views = [read_whole(location) for location in locations]
    found = compare_runs(views)
    scores = [read_scores(location) for location in locations]
    evaluations = compare_evaluations([one.scores for one in scores])
    for view, one in zip(views, scores, strict=True):
        if one.unreadable:
            sentence = evaluation_files.unreadable_text(one.unreadable)
            output.message(f"warning: {formats.escape(f'{view.summary.name}: {sentence}')}")
    if as_json:
        output.document({**_document(views, found), **_evaluations(evaluations)})
    else:
        output.data(_text(views, found, evaluations))


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


def _evaluations(found: EvaluationDiff) -> dict[str, Any]:
    return {
        "evaluations": [
            {
                **_about(shared.first),
                "results": [
                    {
                        "name": measure.name,
                        "values": measure.values,
                        "better": measure.better,
                        "best": measure.best,
                    }
                    for measure in shared.results
                ],
                "other_settings": shared.other_settings(),
            }
            for shared in found.shared
        ],
        "evaluations_apart": [
            {
                "run": one.run,
                **_about(one.measured),
                "metrics": one.measured.values,
                "rows_differ": one.rows_differ,
            }
            for one in found.single
        ],
    }


def _about(one: Measured) -> dict[str, Any]:
    return {"data": one.label, "rows": one.rows, "data_hash": one.scores.data_hash or None}


def _text(views: list[RunView], found: RunDiff, evaluations: EvaluationDiff) -> str:
    headers = ["", *(formats.escape(view.summary.name) for view in views)]
    rows = [["status", *(view.summary.status for view in views)]]
    if len({view.summary.tool for view in views}) > 1:
        rows.append(["tool", *(view.summary.tool for view in views)])
    if any(view.summary.problem for view in views):
        rows.append(["problem", *(view.summary.problem or formats.MISSING for view in views)])
    rows += [[measure.name, *_values(measure)] for measure in found.results]
    for shared in evaluations.shared:
        label = shared.first.label
        counts = (None if one is None else one.rows for one in shared.runs)
        rows.append([f"{label} rows", *map(formats.count, counts)])
        rows += [[f"{label} {measure.name}", *_values(measure)] for measure in shared.results]
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
    names = [view.summary.name for view in views]
    lines = [text]
    for sentence, apart in evaluations.apart(names):
        lines += ["", sentence, *(f"  {formats.escape(line)}" for line in apart)]
    lines += ["", f"{BEST} better value; {same} equal in all runs"]
    lines += [formats.escape(note) for note in evaluations.notes(names)]
    return "\n".join(lines)


def _values(measure: ResultRow) -> list[str]:
    return [
        measure.text(index) + (f" {BEST}" if index in measure.best else "")
        for index in range(len(measure.values))
    ]
