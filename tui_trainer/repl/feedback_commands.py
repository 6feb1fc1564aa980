"""Slash commands that list and change feedback."""

from __future__ import annotations

from collections.abc import Callable

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import example_table, feedback_table
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
        first = store.first_unreadable
        if first is not None:
            lines = formats.plural(store.unreadable, "unreadable line")
            self._context.emit_notice(
                f"{store.file} has {lines}, not listed here; the first is line "
                f"{formats.count(first.number)}: {first.reason}"
            )

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
