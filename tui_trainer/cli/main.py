"""The command line's entry: one group, errors told in one sentence."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import traceback
import warnings
from collections.abc import Sequence

import click

from tui_trainer.cli import common, debug_log, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.text import formats

INTERRUPTED = 130

# Each command's module is loaded when the command is asked for.
_MODULES = {
    "monitor": "monitor",
    "train": "train",
    "resume": "train",
    "control": "control",
    "runs": "runs.commands",
    "estimate": "estimate",
    "find-lr": "find_lr",
    "repl": "repl",
    "adapters": "adapters.commands",
    "notify": "notify",
    "doctor": "doctor.command",
}


class LazyGroup(click.Group):
    """Finds its commands by name, in modules loaded on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands in the order of the help."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command, or None."""
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"tui_trainer.cli.{_MODULES[cmd_name]}")
        command = getattr(module, cmd_name.replace("-", "_"))
        assert isinstance(command, click.Command)  # noqa: S101
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As usual, but an unknown command names the nearest known one."""
        name = args[0]
        if name not in _MODULES and not name.startswith("-"):
            import difflib

            guess = difflib.get_close_matches(name, _MODULES, n=1)
            hint = f"did you mean {guess[0]!r}?" if guess else f"known: {', '.join(_MODULES)}"
            ctx.fail(f"no such command {formats.escape(name)!r}; {hint}")
        return super().resolve_command(ctx, args)


def _print_version(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        import importlib.metadata

        output.data(f"tui-trainer {importlib.metadata.version('tui-trainer')}")
        context.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common.runs_dir_option
@common.debug_option
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
@click.option("--model", metavar="M", help="The chat's base: a model folder or a hub id.")
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
        return common.open_app(common.runs_dir(context), model=model)
    if model is not None:
        context.fail("--model is for the session without a command; repl and a job have their own")
    return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line (without the program's name) and gives the exit status."""
    session = common.GlobalOptions()
    _print_anything()
    # Values near the end of the range of floats are shown as they are; numpy need not warn.
    warnings.filterwarnings("ignore", "overflow encountered", RuntimeWarning)
    # numpy's own threads would wait for work by spinning, beside charts that have none for them.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        result = root.main(
            args=None if arguments is None else list(arguments),
            prog_name="tui-trainer",
            standalone_mode=False,
            obj=session,
        )
        output.flush()
    except BaseException as error:  # every end has its exit status
        return _tell(error, session)
    finally:
        if session.debug:
            debug_log.stop()
    return result if isinstance(result, int) else 0


def _tell(error: BaseException, session: common.GlobalOptions) -> int:
    """Tells an error to the user and gives the exit status."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else 1
    if isinstance(error, BrokenPipeError):
        _silence_stdout()
        return 1
    if session.debug and not isinstance(error, click.ClickException):
        traceback.print_exception(error)
    with contextlib.suppress(OSError):  # the terminal may be gone
        return _tell_in_words(error, session)
    return 1


def _tell_in_words(error: BaseException, session: common.GlobalOptions) -> int:
    if isinstance(error, (click.Abort, KeyboardInterrupt)):
        output.say("interrupted")
        return INTERRUPTED
    if isinstance(error, click.ClickException):
        context = error.ctx if isinstance(error, click.UsageError) else None
        hint = f"; see {context.command_path} --help" if context else ""
        message = error.format_message().rstrip(".")
        output.say(f"error: {formats.escape(message)}{hint}")
        return error.exit_code
    if isinstance(error, UserError):
        output.say(f"error: {formats.escape(str(error))}")
        return error.exit_status
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        output.say(f"error: {formats.escape(where + error.strerror)}")
        return 1
    hint = "" if session.debug else "; run again with --debug to see where"
    what = formats.escape(f"{type(error).__name__}: {error}")
    output.say(f"error: unexpected {what}{hint}")
    return 1


def _silence_stdout() -> None:
    """Whoever read the output has left: what is still buffered must not raise at exit."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_anything() -> None:
    """Lets a terminal that cannot show a character show its number instead of an error."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
