"""`runs advise`: the advisor over recorded metrics."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from tui_trainer.advisor.facts import facts_of
from tui_trainer.advisor.replay import Replay, parse, replay
from tui_trainer.cli import common, output
from tui_trainer.contracts.advice import Advice, JobFacts
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.store import runs as store
from tui_trainer.store.runs import RunFolder


@click.command("advise")
@click.argument("run", metavar="RUN|FILE")
@click.option("--history", is_flag=True, help="Every word: raised, updated and closed.")
@common.json_option("Print one JSON document: a list with an object per advice.")
@common.runs_dir_option
@common.debug_option
@click.pass_context
def advise_command(context: click.Context, run: str, history: bool, as_json: bool) -> None:
    """Replay the advisor over recorded metrics: what it advised, or would have.

    RUN is a run's folder, id or name; FILE any file of JSON lines with a loss. Where gradient
    norm or learning rate was not recorded, fewer things can be told, and that is said.

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


def _replayed(reference: str, context: click.Context) -> tuple[Replay, int]:
    """The replay of a run or file, and the number of unreadable lines. Raises `UserError`."""
    path = Path(reference).expanduser()
    facts = JobFacts()
    hardware: list[HardwareSample] = []
    if path.is_file():
        file = path
        if file.name == "metrics.jsonl" and (file.parent / "run.json").is_file():
            facts, hardware = _known(RunFolder(file.parent))
    elif path.is_dir() and not (path / "run.json").is_file() and (path / "metrics.jsonl").is_file():
        file = path / "metrics.jsonl"
    elif os.sep in reference and not path.exists():
        raise UserError(f"{path} does not exist; give a run's folder, id or name, or a file")
    else:
        folder = store.find_run(reference, common.runs_dir(context))
        file = folder.metrics_file
        facts, hardware = _known(folder)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from None
    rows, odd = parse(data)
    found = replay(rows, None, facts, hardware)
    if not found.rows:
        raise UserError(
            f"{file} has no training loss to judge; lines of JSON with a field "
            '"loss" (or "train_loss", "train/loss") are needed'
        )
    return found, odd


def _known(folder: RunFolder) -> tuple[JobFacts, list[HardwareSample]]:
    """What a run folder of ours says besides its metrics."""
    info, state = folder.info(), folder.state()
    facts = facts_of(info.job, state.total_steps if state else None) if info else JobFacts()
    samples = []
    try:
        lines = folder.hardware_file.read_bytes().split(b"\n")
    except OSError:
        lines = []
    decoder = msgspec.json.Decoder(HardwareSample)
    for line in lines:
        try:
            samples.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            continue  # a torn line, or one that another version wrote
    return facts, samples


def _row(advice: Advice, history: bool) -> tuple[str, ...]:
    step = advice.updated_step if history else advice.step
    return (
        output.count(step),
        advice.kind,
        advice.urgency,
        advice.status,
        output.rate(advice.learning_rate),
        _suggested(advice),
        advice.reason,
    )


def _suggested(advice: Advice) -> str:
    if advice.suggested_lr is None and advice.factor is not None:
        return f"× {output.number(advice.factor)}"
    return output.rate(advice.suggested_lr)


def _listed(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
