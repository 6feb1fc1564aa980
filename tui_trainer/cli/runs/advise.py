"""`runs advise`: applies the advisor to recorded metrics."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui_trainer.advisor.event_history import read_events
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.replay import Replay, parse, replay
from tui_trainer.cli.common import options, output
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.errors import UserError, reason_of
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store import jsonl
from tui_trainer.store.regular_files import read_regular
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.watch.run_location import RunLocation

# Files that are read here, whatever their fields are named; others are read as by the monitor.
_LINES = (".jsonl", ".ndjson", ".json", ".log", ".txt")


@click.command()
@click.argument("run", metavar="RUN|FILE")
@click.option("--history", is_flag=True, help="Every report of an advice: raised, updated, closed.")
@options.json_option("Print one JSON document: a list with an object per advice.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def advise(context: click.Context, run: str, history: bool, as_json: bool) -> None:
    """Apply the advisor to recorded metrics.

    Prints what it advised, or would have advised.

    RUN is a run's folder, id or name; FILE any file of JSON lines with a loss, or a run of
    TensorBoard, W&B, transformers, Lightning, Keras, Trackio or MLflow. Where gradient norm or
    learning rate was not recorded, fewer rules apply; a message says which values are missing.

    \b
    Examples:
      tui-trainer runs advise lighthouse
      tui-trainer runs advise other-tool/metrics.jsonl --json
    """
    found, skipped = _replayed(run, context)
    if skipped:
        output.message(f"{formats.plural(skipped, 'line')} skipped: not JSON")
    if found.lacks:
        output.message(f"not recorded: {_joined(found.lacks)}; rules that need them are skipped")
    reports = found.reports if history else found.advice
    if as_json:
        output.document(reports)
    elif reports:
        headers = ("STEP", "KIND", "URGENCY", "STATUS", "RATE", "SUGGESTED", "REASON")
        output.data(output.table(headers, [_row(advice, history) for advice in reports]))
    else:
        output.message(f"no advice for {formats.plural(found.rows, 'row')}")
    offer = _rollback_offer(run, context, found)
    if offer is not None:
        output.message(offer)


def _replayed(reference: str, context: click.Context) -> tuple[Replay, int]:
    """The replay of a run or file, and the number of unreadable lines. Raises `UserError`."""
    path = Path(reference).expanduser()
    known = _RunContext(settings=load_settings().advisor)
    if path.is_file() and path.suffix in _LINES:
        file = path
        if file.name == "metrics.jsonl" and (file.parent / "run.json").is_file():
            known = _context_of(RunFolder(file.parent))
    elif path.is_dir() and not (path / "run.json").is_file() and (path / "metrics.jsonl").is_file():
        file = path / "metrics.jsonl"
    elif os.sep in reference and not path.exists():
        raise UserError(f"{path} does not exist; give a run's folder, id or name, or a file")
    else:
        from tui_trainer.watch.runs.resolve import find_location

        location = find_location(reference, options.runs_dir(context))
        if location.kind != "run":
            return _of_another_tool(location, known.settings)
        folder = RunFolder(location.path)
        file = folder.metrics_file
        known = _context_of(folder)
    try:
        data = read_regular(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {reason_of(error)}") from None
    rows, skipped = parse(data)
    for text in known.rollbacks:
        output.message(f"rollback: {formats.escape(text)}")
    found = replay(rows, known.settings, known.facts, known.hardware, known.mutes)
    if not found.rows:
        raise UserError(
            f"{file} has no training loss; lines of JSON with a field "
            '"loss" (or "train_loss", "train/loss") are needed'
        )
    return found, skipped


def _of_another_tool(location: RunLocation, settings: AdvisorSettings | None) -> tuple[Replay, int]:
    """Apply the advisor to a run of another tool, as the monitor reads it."""
    from tui_trainer.watch.runs.details.run_details import read_whole
    from tui_trainer.watch.runs.foreign_advice import ForeignAdvice, lacking

    view = read_whole(location)
    advisor = ForeignAdvice(settings)
    for _ in advisor.update(view):
        pass
    if view.summary.problem and not advisor.rows:
        raise UserError(f"{location.path} ({view.summary.tool}): {view.summary.problem}", 1)
    if not advisor.rows:
        raise UserError(f"{location.path} ({view.summary.tool}) has no training loss")
    if advisor.rows_per_mean > 1:
        rows = formats.count(advisor.rows_per_mean)
        output.message(f"the run is long: the advisor receives means of {rows} rows")
    return advisor.result(lacking(view)), 0


def _rollback_offer(reference: str, context: click.Context, found: Replay) -> str | None:
    """How a run that failed is rolled back to a good checkpoint, as a sentence, or None."""
    still_open = [advice for advice in found.advice if advice.status != "closed"]
    if not still_open or Path(reference).expanduser().is_file():
        return None
    from tui_trainer.launch.rollback_offer import find_offer
    from tui_trainer.watch.runs.resolve import find_location

    folder = RunFolder(find_location(reference, options.runs_dir(context)).path)
    info = folder.info()
    if info is None or folder.status() not in ("failed", "crashed", "cancelled"):
        return None
    for advice in reversed(still_open):
        offer = find_offer(folder, info, advice)
        if offer is not None:
            return offer.message
    return None


@dataclass(frozen=True)
class _RunContext:
    """What the advisor uses besides the metrics of a run."""

    facts: JobFacts = field(default_factory=JobFacts)
    settings: AdvisorSettings | None = None
    hardware: tuple[HardwareSample, ...] = ()
    mutes: tuple[tuple[int, str], ...] = ()  # step and kind of each muted kind of advice
    rollbacks: tuple[str, ...] = ()  # messages of the run's rollbacks


def _context_of(folder: RunFolder) -> _RunContext:
    """The context of one of our own runs; the advisor's settings are those of its job."""
    info, state = folder.info(), folder.state()
    events = folder.events()
    history = read_events(events)
    rollbacks = tuple(event.message for event in events if event.kind == "rollback")
    total = state.total_steps if state else None
    facts = facts_of(info.job, total, history.usual_rate) if info else JobFacts()
    settings = info.job.advisor if info else load_settings().advisor
    samples: list[HardwareSample] = []
    with contextlib.suppress(OSError):  # absent where the run has not started
        samples = jsonl.read_records(folder.hardware_file, HardwareSample).records
    return _RunContext(facts, settings, tuple(samples), history.mutes, rollbacks)


def _row(advice: Advice, history: bool) -> tuple[str, ...]:
    step = advice.updated_step if history else advice.step
    return (
        formats.count(step),
        advice.kind,
        advice.urgency,
        advice.status,
        formats.rate(advice.learning_rate),
        _suggested(advice),
        advice.reason,
    )


def _suggested(advice: Advice) -> str:
    if advice.suggested_lr is None and advice.factor is not None:
        return formats.factor(advice.factor)
    return formats.rate(advice.suggested_lr)


def _joined(names: list[str]) -> str:
    """`a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
