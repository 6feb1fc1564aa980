"""`repl`: the chat and its slash commands, line by line."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator

import click

from tui_trainer.cli.common import options, output
from tui_trainer.cli.common.chat_printer import PROMPT, ChatPrinter, JsonPrinter, TextPrinter
from tui_trainer.contracts.chat import session as events
from tui_trainer.repl.factory import open_session
from tui_trainer.repl.parse import completions
from tui_trainer.repl.session import ChatSession
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

_POLL_SECONDS = 0.1  # how often the waiting main thread can receive Ctrl-C


@click.command()
@click.option(
    "--model",
    metavar="M",
    help="The built-in base, a model folder, or a Hugging Face id.  [default: builtin]",
)
@click.option("--adapter", metavar="A", help="Activate this adapter first, as /adapters load does.")
@click.option("--trust-remote-code", is_flag=True, help="Run Python code from the model's folder.")
@options.json_option("Print one JSON record per event.")
@options.runs_dir_option
@options.debug_option
@click.pass_context
def repl(
    context: click.Context,
    model: str | None,
    adapter: str | None,
    trust_remote_code: bool,
    as_json: bool,
) -> int:
    """Chat with a model and train it on corrected answers.

    Lines are questions, or commands such as /good, /fix TEXT, /train; /help lists them. Works
    in a pipe: the exit status is 1 if a command failed. Ctrl-C cancels an answer, Ctrl-D ends
    the session.

    \b
    Examples:
      tui-trainer repl
      printf 'What is the capital of France?\\n/fix Paris\\n' | tui-trainer repl
      tui-trainer repl --json < questions.txt
    """
    interactive = _is_terminal() and not as_json
    text_printer = TextPrinter(interactive=interactive, typed=_input_text)
    printer: ChatPrinter = JsonPrinter() if as_json else text_printer
    settings = load_settings()
    session = open_session(
        options.chat_model(model, settings),
        settings=settings.teaching,
        runs_dir=options.runs_dir(context),
        emit=printer,
        on_status=lambda text: output.message(formats.escape(text)),
        trust_remote_code=trust_remote_code,
        chat=settings.chat,
    )
    try:
        _in_background(session.start, session.cancel)
        ready = adapter is None or _submit(session, printer, f"/adapters load {adapter}")
        if not ready:
            return 2
        lines = _typed_lines(session, printer) if interactive else _piped_lines()
        failed = _converse(session, printer, lines, interactive=interactive)
    finally:
        session.close()
    if session.training:
        output.message("a training is unfinished; the next session resumes it")
    return 1 if failed and not interactive else 0


def _converse(
    session: ChatSession, printer: ChatPrinter, lines: Iterator[str], *, interactive: bool
) -> bool:
    """Execute line by line until the input or the session ends; return whether any failed."""
    failed = False
    for line in lines:
        printer.echo(line)
        if interactive:
            session.remember(line)
        failed |= not _submit(session, printer, line)
        if printer.request is not None:
            failed |= not _edit(session, printer, printer.request, interactive=interactive)
            printer.request = None
        if session.ended:
            break
    return failed


def _submit(session: ChatSession, printer: ChatPrinter, line: str) -> bool:
    done = _in_background(lambda: session.submit(line), session.cancel)
    if printer.output_error is not None:
        raise printer.output_error
    return done


def _edit(
    session: ChatSession, printer: ChatPrinter, request: events.EditRequest, *, interactive: bool
) -> bool:
    if not interactive:
        hint = "use /fix TEXT for the last answer, /feedback fix N TEXT for feedback N"
        printer(events.SessionError(text=f"the editor needs a terminal; {hint}", command="/edit"))
        return False
    text = click.edit(request.text, extension=".txt")
    if text is None or text.rstrip("\n") == request.text:
        printer(events.SessionNotice(text="nothing was changed"))
        return True
    return session.edited(request, text.rstrip("\n"))


def _in_background(work: Callable[[], bool | None], cancel: Callable[[], None]) -> bool:
    """Run `work` in a thread and return its result; Ctrl-C cancels it, a second one ends the
    program. Errors are raised here."""
    results: list[bool | None] = []
    errors: list[BaseException] = []
    done = threading.Event()

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=run, name="session", daemon=True)
    started = cancelled = False
    while not done.is_set():
        try:
            if not started:
                started = True
                thread.start()
            done.wait(_POLL_SECONDS)
        except KeyboardInterrupt:
            if cancelled:
                raise
            cancelled = True
            cancel()
    if errors:
        raise errors[0]
    return results[0] is not False


def _piped_lines() -> Iterator[str]:
    # Bytes that are not UTF-8 are replaced instead of ending the session.
    for line in sys.stdin.buffer:
        yield line.decode("utf-8", "replace").rstrip("\r\n")


def _typed_lines(session: ChatSession, printer: ChatPrinter) -> Iterator[str]:
    _set_up_readline(session)
    output.message("ask a question; /help lists the commands, Ctrl-D ends the session")
    while True:
        try:
            _prompting(printer, True)
            line = input(PROMPT)
        except EOFError:
            output.message("")
            return
        except KeyboardInterrupt:
            output.message("")
            continue
        finally:
            _prompting(printer, False)
        yield line


def _prompting(printer: ChatPrinter, now: bool) -> None:
    if isinstance(printer, TextPrinter):
        printer.prompting = now


def _set_up_readline(session: ChatSession) -> None:
    try:
        import readline
    except ImportError:  # optional: input() works without it
        return
    for line in session.history():
        readline.add_history(line)

    def complete(text: str, state: int) -> str | None:
        found = completions(text) if text.startswith("/") else []
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    readline.parse_and_bind("tab: complete")


def _input_text() -> str:
    readline = sys.modules.get("readline")
    return "" if readline is None else str(readline.get_line_buffer())


def _is_terminal() -> bool:
    try:
        return sys.stdin is not None and sys.stdin.isatty()
    except (ValueError, OSError):
        return False
