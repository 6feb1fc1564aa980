"""`estimate`: what a job will take, without training it."""

from __future__ import annotations

import click

from tui_trainer.cli import common, job_warnings, output
from tui_trainer.cli.train import load
from tui_trainer.contracts.estimate import Estimate
from tui_trainer.launch.preflight import ask
from tui_trainer.text import formats


@click.command()
@click.argument("job", metavar="JOB.toml")
@common.set_option
@common.json_option("Print one JSON document.")
@common.debug_option
def estimate(job: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Tell a job's steps, time, memory and disk, and what to change if it will not fit.

    A few real passes are made on a scratch adapter and thrown away. Ends with status 1 where
    the job will not fit.

    \b
    Examples:
      tui-trainer estimate example
      tui-trainer estimate job.toml --set training.batch_size=64 --json
    """
    checked = load(job, overrides)
    job_warnings.tell(checked)
    found = ask("estimate", checked, Estimate)
    if as_json:
        output.document(found)
    else:
        output.data(output.pairs(lines(found)))
        for words in found.notices:
            output.say(f"warning: {formats.escape(words)}")
    for words in found.advice:
        output.say(formats.escape(words))
    return 0 if found.fits else 1


def lines(found: Estimate) -> list[tuple[str, str]]:
    """The estimate as names and values."""
    how = "measured" if found.measured else "extrapolated from smaller passes"
    fits = "fits" if found.fits else "does not fit"
    evaluations = f"{found.evaluations:,} evaluations of {found.evaluation_seconds:.2g} s"
    facts = [
        ("steps", f"{found.steps:,}, {found.epochs:.3g} passes over {found.examples:,} examples"),
        ("tokens", f"{found.tokens:,}, {found.tokens / max(1, found.steps):,.0f} a step"),
        (
            "time",
            f"{formats.duration(found.seconds)}: {found.step_seconds * 1000:.4g} ms a step, "
            f"{evaluations}, {found.startup_seconds:.2g} s to start",
        ),
        (
            "peak memory",
            f"{formats.size(found.peak_bytes)} of {formats.size(found.available_bytes)} on "
            f"{found.device}: {fits} ({how}; largest pass {found.largest_pass:,} tokens)",
        ),
        (
            "disk",
            f"{formats.size(found.disk_bytes)}: {found.checkpoints:,} checkpoints of "
            f"{formats.size(found.checkpoint_bytes)}, and the adapter",
        ),
    ]
    other = found.checkpointing
    if other is not None:
        less = formats.size(other.kept_bytes - other.kept_bytes_with)
        words = f"{less} less of {formats.size(other.kept_bytes)} that the largest pass keeps"
        facts.append(("gradient checkpointing", f"{words}, {other.time_factor:.2g}x the time"))
    return facts
