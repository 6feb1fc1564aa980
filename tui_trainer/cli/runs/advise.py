"""`runs advise`: the advisor over recorded metrics."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tui_trainer.advisor.event_history import told
from tui_trainer.advisor.job_facts import facts_of
from tui_trainer.advisor.replay import Replay, parse, replay
from tui_trainer.cli import common, output
from tui_trainer.contracts.advice import Advice, AdvisorSettings, JobFacts
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store import jsonl
from tui_trainer.store.regular_files import read_regular
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

if TYPE_CHECKING:
    from tui_trainer.watch.run_location import RunLocation

# Files that are read here, with whatever names their fields have; others as the monitor does.
_LINES = (".jsonl", ".ndjson", ".json", ".log", ".txt")


@click.command("advise")
@click.argument("run", metavar="RUN|FILE")
@click.option("--history", is_flag=True, help="Every word: raised, updated and closed.")
@common.json_option("Print one JSON document: a list with an object per advice.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def advise_command(context: click.Context, run: str, history: bool, as_json: bool) -> None:
    """Replay the advisor over recorded metrics: what it advised, or would have.

    RUN is a run's folder, id or name; FILE any file of JSON lines with a loss, or a run of
    TensorBoard, W&B, transformers, Lightning, Keras, Trackio or MLflow. Where gradient norm or
    learning rate was not recorded, fewer things can be told, and that is said.

    \b
    Examples:
      tui-trainer runs advise lighthouse
      tui-trainer runs advise other-tool/metrics.jsonl --json
    """
    found, odd = _replayed(run, context)
    if odd:
        output.say(f"{odd:,} {'line is' if odd == 1 else 'lines are'} not JSON, passed over")
    if found.lacks:
        output.say(f"judged without {_listed(found.lacks)}: not recorded")
    said = found.said if history else found.advice
    if as_json:
        output.document(said)
    elif said:
        headers = ("STEP", "KIND", "URGENCY", "STATUS", "RATE", "SUGGESTED", "REASON")
        output.data(output.table(headers, [_row(advice, history) for advice in said]))
    else:
        output.say(f"nothing to advise over {found.rows:,} rows")
    offer = _way_back(run, context, found)
    if offer is not None:
        output.say(offer)


def _replayed(reference: str, context: click.Context) -> tuple[Replay, int]:
    """The replay of a run or file, and the number of unreadable lines. Raises `UserError`."""
    path = Path(reference).expanduser()
    known = _Known(settings=load_settings().advisor)
    if path.is_file() and path.suffix in _LINES:
        file = path
        if file.name == "metrics.jsonl" and (file.parent / "run.json").is_file():
            known = _known(RunFolder(file.parent))
    elif path.is_dir() and not (path / "run.json").is_file() and (path / "metrics.jsonl").is_file():
        file = path / "metrics.jsonl"
    elif os.sep in reference and not path.exists():
        raise UserError(f"{path} does not exist; give a run's folder, id or name, or a file")
    else:
        from tui_trainer.watch.runs.resolve import find_location

        place = find_location(reference, common.runs_dir(context))
        if place.kind != "run":
            return _of_another_tool(place, known.settings)
        folder = RunFolder(place.path)
        file = folder.metrics_file
        known = _known(folder)
    try:
        data = read_regular(file)
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    rows, odd = parse(data)
    for words in known.left:
        output.say(f"on a way that was left: {formats.escape(words)}")
    found = replay(rows, known.settings, known.facts, known.hardware, known.mutes)
    if not found.rows:
        raise UserError(
            f"{file} has no training loss to judge; lines of JSON with a field "
            '"loss" (or "train_loss", "train/loss") are needed'
        )
    return found, odd


def _of_another_tool(place: RunLocation, settings: AdvisorSettings | None) -> tuple[Replay, int]:
    """The advisor over a run that another tool wrote, as the monitor reads it."""
    from tui_trainer.watch.runs.foreign_advice import ForeignAdvice, lacking
    from tui_trainer.watch.runs.run_details import read_whole

    view = read_whole(place)
    judging = ForeignAdvice(settings)
    for _ in judging.take(view):
        pass
    if view.summary.problem and not judging.rows:
        raise UserError(f"{place.path} ({view.summary.tool}): {view.summary.problem}", 1)
    if not judging.rows:
        raise UserError(f"{place.path} ({view.summary.tool}) has no training loss to judge")
    if view.train.thinning > 1:
        output.say(f"judged by means of {view.train.thinning} rows: the run is a long one")
    return judging.result(lacking(view)), 0


def _way_back(reference: str, context: click.Context, found: Replay) -> str | None:
    """How a run of ours that ended badly is set back to a good checkpoint, in a sentence."""
    known = [advice for advice in found.advice if advice.status != "closed"]
    if not known or Path(reference).expanduser().is_file():
        return None
    from tui_trainer.launch.rollback_offer import rollback
    from tui_trainer.watch.runs.resolve import find_location

    folder = RunFolder(find_location(reference, common.runs_dir(context)).path)
    info = folder.info()
    if info is None or folder.status() not in ("failed", "crashed", "cancelled"):
        return None
    offers = [offer for advice in known if (offer := rollback(folder, info, advice)) is not None]
    return offers[-1].words if offers else None


@dataclass(frozen=True)
class _Known:
    """What a run says besides its metrics."""

    facts: JobFacts = field(default_factory=JobFacts)
    settings: AdvisorSettings | None = None
    hardware: tuple[HardwareSample, ...] = ()
    mutes: tuple[tuple[int, str], ...] = ()
    left: tuple[str, ...] = ()  # what was advised where the run went back by itself, and was done


def _known(folder: RunFolder) -> _Known:
    """What a run folder of ours says; its advisor is the one that its job asked for."""
    info, state = folder.info(), folder.state()
    events = folder.events()
    heard = told(events)
    left = tuple(event.message for event in events if event.kind == "rollback")
    total = state.total_steps if state else None
    facts = facts_of(info.job, total, heard.usual_rate) if info else JobFacts()
    settings = info.job.advisor if info else load_settings().advisor
    samples: list[HardwareSample] = []
    with contextlib.suppress(OSError):  # absent where the run has not begun
        samples = jsonl.read_records(folder.hardware_file, HardwareSample).records
    return _Known(facts, settings, tuple(samples), heard.mutes, left)


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
        return f"× {formats.number(advice.factor)}"
    return formats.rate(advice.suggested_lr)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
