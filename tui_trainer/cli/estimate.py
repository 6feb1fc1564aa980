"""`estimate`: time, memory and disk of a job, without training it."""

from __future__ import annotations

import click

from tui_trainer.cli.common import job_warnings, options, output
from tui_trainer.cli.train import load
from tui_trainer.contracts.estimate import Estimate
from tui_trainer.launch.preflight import ask
from tui_trainer.text import formats


@click.command()
@click.argument("job", metavar="JOB.toml")
@options.set_option
@options.json_option("Print one JSON document.")
@options.debug_option
def estimate(job: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Estimate the steps, time, memory and disk of a job.

    A few real passes are made on a scratch adapter, which is discarded. Where the job does not
    fit, prints what to change and ends with exit status 1.

    \b
    Examples:
      tui-trainer estimate example
      tui-trainer estimate job.toml --set training.batch_size=64 --json
    """
    checked = load(job, overrides)
    job_warnings.print_warnings(checked)
    found = ask("estimate", checked, Estimate)
    if as_json:
        output.document(found)
    else:
        output.data(output.pairs(lines(found)))
        for notice in found.notices:
            output.message(f"warning: {formats.escape(notice)}")
    for advice in found.advice:
        output.message(formats.escape(advice))
    return 0 if found.fits else 1


def lines(found: Estimate) -> list[tuple[str, str]]:
    """The estimate as names and values."""
    how = "measured" if found.measured else "extrapolated from smaller passes"
    fits = "fits" if found.fits else "does not fit"
    step = formats.milliseconds(found.step_seconds * 1000)
    evaluation = formats.milliseconds(found.evaluation_seconds * 1000)
    evaluations = f"{formats.plural(found.evaluations, 'evaluation')} of {evaluation}"
    epochs = formats.plural(found.epochs, "epoch")
    examples = formats.plural(found.examples, "example")
    tokens_per_step = formats.count(found.tokens / max(1, found.steps))
    facts = [
        ("steps", f"{formats.count(found.steps)}: {epochs} of {examples}"),
        ("tokens", f"{formats.count(found.tokens)}: {tokens_per_step} per step"),
        (
            "time",
            f"{formats.duration(found.seconds)}: {step} per step, {evaluations}, "
            f"{formats.milliseconds(found.startup_seconds * 1000)} to start",
        ),
        (
            "peak memory",
            f"{formats.size(found.peak_bytes)} of {formats.size(found.available_bytes)} on "
            f"{found.device}: {fits} ({how}; largest pass: "
            f"{formats.plural(found.largest_pass, 'token')})",
        ),
        (
            "disk",
            f"{formats.size(found.disk_bytes)}: {formats.plural(found.checkpoints, 'checkpoint')} "
            f"of {formats.size(found.checkpoint_bytes)}, and the adapter",
        ),
    ]
    trade = found.checkpointing
    if trade is not None:
        saved = formats.size(trade.kept_bytes - trade.kept_bytes_with)
        kept = formats.size(trade.kept_bytes)
        factor = formats.number(trade.time_factor, 2)
        facts.append(
            (
                "gradient checkpointing",
                f"saves {saved} of the {kept} of the largest pass, takes {factor}× the time",
            )
        )
    return facts
