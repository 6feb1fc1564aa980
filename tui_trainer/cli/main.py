"""The entry point of the command line: the root command, and errors as one sentence."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from tui_trainer.cli.common import debug_log, options, output
from tui_trainer.cli.common.lazy_group import LazyGroup
from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.text import formats

INTERRUPTED = 130

_MODULES = {
    "monitor": "tui_trainer.cli.monitor:monitor",
    "train": "tui_trainer.cli.train:train",
    "resume": "tui_trainer.cli.train:resume",
    "control": "tui_trainer.cli.control:control",
    "runs": "tui_trainer.cli.runs.commands:runs",
    "estimate": "tui_trainer.cli.estimate:estimate",
    "evaluate": "tui_trainer.cli.evaluate.command:evaluate",
    "golden": "tui_trainer.cli.golden:golden",
    "data": "tui_trainer.cli.data:data",
    "find-lr": "tui_trainer.cli.find_lr:find_lr",
    "predict": "tui_trainer.cli.predict.command:predict",
    "repl": "tui_trainer.cli.repl:repl",
    "adapters": "tui_trainer.cli.adapters.commands:adapters",
    "feedback": "tui_trainer.cli.feedback.commands:feedback",
    "notify": "tui_trainer.cli.notify:notify",
    "doctor": "tui_trainer.cli.doctor.command:doctor",
}


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        import importlib.metadata

        output.data(f"tui-trainer {importlib.metadata.version('tui-trainer')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    modules=_MODULES,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@options.runs_dir_option
@options.debug_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.option(
    "--model", metavar="M", help="Base model of the chat: a model folder or a Hugging Face id."
)
@click.pass_context
def root(context: click.Context, model: str | None) -> int | None:
    """Fine-tune language models in the terminal: train, watch, steer.

    Without a command: the full-screen session over a folder of runs.

    \b
    Examples:
      tui-trainer train example       train the built-in model on a small example
      tui-trainer                     the dashboard over ./runs
      tui-trainer monitor DIR         the dashboard over any folder of runs
    """
    if context.invoked_subcommand is None:
        return options.open_app(options.runs_dir(context), model=model)
    if model is not None:
        context.fail(
            "--model applies only without a command; repl has its own --model, a job its own model"
        )
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line (without the program's name) and return the exit status."""
    session = options.GlobalOptions()
    _escape_unencodable()
    # Values near the limits of floats are shown as they are; numpy need not warn.
    warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
    # numpy's own threads would use processor time while they wait, and charts need none of them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        result = root.main(
            args=None if arguments is None else list(arguments),
            prog_name="tui-trainer",
            standalone_mode=False,
            obj=session,
        )
        output.flush()
    except BaseException as error:  # every way to end has an exit status
        return _report(error, session)
    finally:
        if session.debug:
            debug_log.stop()
    return result if isinstance(result, int) else 0


def _report(error: BaseException, session: options.GlobalOptions) -> int:
    """Report an error to the user and return the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return 1
    if session.debug and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    with contextlib.suppress(OSError):  # the terminal may be gone
        return _report_in_a_sentence(error, session)
    return 1


def _report_in_a_sentence(error: BaseException, session: options.GlobalOptions) -> int:
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        output.message("interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"; see {context.command_path} --help" if context else ""
        message = error.format_message().rstrip(".")
        output.message(f"error: {formats.escape(message)}{hint}")
        return error.exit_code
    if isinstance(error, UserError):
        output.message(f"error: {formats.escape(str(error))}")
        return error.exit_status
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        output.message(f"error: {formats.escape(where + error.strerror)}")
        return 1
    hint = "" if session.debug else "; run again with --debug for the traceback"
    output.message(f"error: {formats.escape(error_text(error))}{hint}")
    return 1


def _silence_stdout() -> None:
    """Redirect standard output to the null device: its reader has closed the pipe, and flushing
    the rest at exit must not fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _escape_unencodable() -> None:
    """Print characters that the terminal cannot encode as escapes instead of failing."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
