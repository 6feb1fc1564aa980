"""Slash commands that list and change feedback."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import example_table, feedback_table
from tui_trainer.store.feedback.feedback_export import export_feedback
from tui_trainer.text import formats


class FeedbackCommands:
    """`/feedback`; `correct` stores a right answer for an example."""

    def __init__(self, context: SessionContext, correct: Callable[[str, str | None], None]) -> None:
        self._context = context
        self._correct = correct

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {"feedback": self._feedback}

    def _feedback(self, command: SlashCommand) -> None:
        what, _, rest = command.argument_text.lstrip().partition(" ")
        if what == "export":
            self._export(command)
            return
        number, _, text = rest.lstrip().partition(" ")
        needed = {"": 0, "list": 0, "purge": 0, "show": 1, "drop": 1, "fix": 2}.get(what.strip())
        given = 0 if not number.strip() else 1 if not text.strip() else 2
        if needed is None or given != needed:
            raise command.usage()
        if what == "show":
            example = self._context.feedback.get(number)
            number_now = self._context.feedback.number(example.id)
            self._context.emit(example_table(example, number_now))
        elif what == "drop":
            self._drop(number)
        elif what == "fix":
            self._correct(text, number)
        elif what == "purge":
            self._context.confirm("delete dropped feedback from the disk permanently?", self._purge)
        else:
            self._list()

    def _list(self) -> None:
        store = self._context.feedback
        table = feedback_table(store.examples())
        if table.rows:
            self._context.emit(table)
        else:
            self._context.emit_notice(
                "no feedback yet: rate an answer with /good, /medium or /critical"
            )
        self._note_unreadable()

    def _note_unreadable(self) -> None:
        store = self._context.feedback
        first = store.first_unreadable
        if first is not None:
            lines = formats.plural(store.unreadable, "unreadable line")
            self._context.emit_notice(
                f"{store.file} has {lines}, not listed here; the first is line "
                f"{formats.count(first.number)}: {first.reason}"
            )

    def _export(self, command: SlashCommand) -> None:
        arguments = command.words()[1:]
        format_ = "jsonl"
        for place, argument in enumerate(arguments):
            if argument == "--format" and place + 1 < len(arguments):
                format_ = arguments[place + 1]
                del arguments[place : place + 2]
                break
            if argument.startswith("--format="):
                format_ = argument.removeprefix("--format=")
                del arguments[place]
                break
        if len(arguments) != 1 or arguments[0].startswith("--"):
            raise command.usage()
        examples = self._context.feedback.examples()
        result = export_feedback(examples, Path(arguments[0]).expanduser(), format_)
        self._context.emit_notice(result.text())
        self._note_unreadable()

    def _drop(self, reference: str) -> None:
        example = self._context.feedback.get(reference)
        number_now = self._context.feedback.number(example.id)
        self._context.feedback.drop(example.id)
        learned = f"; adapter {example.trained_in} has learned it" if example.trained_in else ""
        self._context.emit_notice(f"feedback {number_now} is dropped{learned}")
        self._context.emit_buffer()
        self._context.trainer.wake()

    def _purge(self) -> None:
        count = self._context.feedback.purge()
        if not count:
            raise UserError("there is no dropped feedback; /feedback drop N drops one")
        examples = formats.plural(count, "dropped example is", "dropped examples are")
        self._context.emit_notice(f"{examples} deleted from the disk")
