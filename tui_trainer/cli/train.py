"""`train` and `resume`: start an engine and show its progress."""

from __future__ import annotations

import math
from pathlib import Path

import click

from tui_trainer.cli.common import job_warnings, options, output
from tui_trainer.cli.headless import run_headless
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.launch.broken_rate import broken_rate
from tui_trainer.launch.engine_process import check_installed, check_startable
from tui_trainer.launch.supervisor import Supervisor
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import run_folder
from tui_trainer.store.runs.present_rate import peak_rise
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.store.toml.reading import read_value

EXAMPLE = "example"

_headless = click.option(
    "--headless", is_flag=True, help="No full screen: a progress line on standard error."
)
_json = options.json_option("Headless, with a JSON line per metric and event.")


@click.command()
@click.argument("job", metavar="JOB.toml")
@options.set_option
@click.option("--name", metavar="NAME", help="Name of the run.  [default: that of the job]")
@_headless
@_json
@options.runs_dir_option
@options.debug_option
@click.pass_context
def train(
    context: click.Context,
    job: str,
    overrides: tuple[str, ...],
    name: str | None,
    headless: bool,
    as_json: bool,
) -> int:
    """Train an adapter from a job file.

    With 'example' instead of a file, the built-in model is trained on a small example.
    Without the full screen, Ctrl-C saves and stops; a second one stops without saving.

    \b
    Examples:
      tui-trainer train example
      tui-trainer train job.toml --set training.max_steps=40 --set lora.rank=8
      tui-trainer train job.toml --headless --json > run.jsonl
    """
    checked = load(job, overrides)
    job_warnings.raise_errors(checked)
    check_installed()
    folder = run_folder.create_run(options.runs_dir(context), checked, name)
    return _start(folder, None, None, headless=headless, as_json=as_json)


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--from",
    "from_checkpoint",
    metavar="CHECKPOINT",
    help="Resume from this checkpoint (a name, a step, 'best', or 'start' for step 0) instead of "
    "the newest.",
)
@click.option(
    "--keep-rate",
    is_flag=True,
    help="Keep a learning rate that was set by a command, even where the run failed after it.",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set another training.learning_rate, the peak of the schedule, from here on.",
)
@_headless
@_json
@options.runs_dir_option
@options.debug_option
@click.pass_context
def resume(
    context: click.Context,
    run: str,
    from_checkpoint: str | None,
    keep_rate: bool,
    overrides: tuple[str, ...],
    headless: bool,
    as_json: bool,
) -> int:
    """Resume a run exactly where it stopped.

    RUN is a run's folder, id or name. A run that diverged, or ended with a non-finite loss, after
    its learning rate was raised by a command is not resumed with that rate by default: the error
    names the command that resumes from before it. Choose with --from, --set or --keep-rate. A
    rate of more than ten times the run's own gives a warning.

    \b
    Examples:
      tui-trainer resume lighthouse
      tui-trainer resume runs/lighthouse-20261101-120000-ab12 --from step-00000050
      tui-trainer resume lighthouse --from step-00000050 --set training.learning_rate=5e-5
    """
    rate = _new_rate(overrides)
    folder = run_folder.find_run(run, options.runs_dir(context))
    check_installed()
    check_startable(folder, from_checkpoint)
    if from_checkpoint is None and rate is None and not keep_rate:
        _refuse_broken_rate(folder)
    rise = None if rate is None else peak_rise(folder, rate)
    if rise is not None:
        output.message(f"warning: {rise}")
    return _start(folder, from_checkpoint, rate, headless=headless, as_json=as_json)


def _refuse_broken_rate(folder: RunFolder) -> None:
    """Raise `UserError` where the run would be resumed with the rate that made it fail."""
    broken = broken_rate(folder)
    if broken is not None:
        raise UserError(
            f"{broken.description}; resume from before that with: {broken.command} (or keep the "
            "rate with --keep-rate)"
        )


def _new_rate(overrides: tuple[str, ...]) -> float | None:
    """The learning rate of `resume --set`; nothing else of a run's job can be changed."""
    rate = None
    for assignment in overrides:
        key, equals, text = assignment.partition("=")
        if not equals or key.strip() != "training.learning_rate":
            raise UserError(
                f"--set {assignment!r}: a run is resumed with its own job; only "
                "training.learning_rate=X can be set"
            )
        value = read_value(text.strip())
        if not isinstance(value, int | float) or not (math.isfinite(value) and value > 0):
            raise UserError(f"--set {assignment!r}: a number above 0 is needed, such as 1e-4")
        rate = float(value)
    return rate


def load(job: str, overrides: tuple[str, ...]) -> Job:
    """Load the job of a file, or the packaged example. Raises `UserError`."""
    path = Path(job).expanduser()
    if job == EXAMPLE and not path.exists():
        path = paths.example_job()
    return jobs.load_job(path, overrides)


def _start(
    folder: RunFolder,
    from_checkpoint: str | None,
    rate: float | None,
    *,
    headless: bool,
    as_json: bool,
) -> int:
    if headless or as_json or not output.is_interactive():
        return run_headless(folder, from_checkpoint, rate, as_json=as_json)
    # The app watches the folder; the supervisor only waits for the child process and marks a run
    # whose engine ended before it wrote its state.
    supervisor = Supervisor(lambda end: None)
    supervisor.start(folder, from_checkpoint, rate)
    try:
        return options.open_app(folder.path.parent, focus=folder.path)
    finally:
        supervisor.stop_watching()
        _report_running(folder)


def _report_running(folder: RunFolder) -> None:
    if folder.status() in ACTIVE_STATES:
        name = folder.path.name
        output.message(
            f"{name} is still training; show it with: tui-trainer --runs-dir {folder.path.parent}, "
            f"stop it with: tui-trainer control {folder.path} stop"
        )
