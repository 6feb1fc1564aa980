"""Listing and changing what was rated."""

from __future__ import annotations

from collections.abc import Callable

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.tables import example_table, feedback_table


class FeedbackCommands:
    """`/feedback`; `correct` stores a right answer for an example."""

    def __init__(self, desk: SessionContext, correct: Callable[[str, str | None], None]) -> None:
        self._desk = desk
        self._correct = correct

    def handlers(self) -> dict[str, Handler]:
        """The commands by name."""
        return {"feedback": self._feedback}

    def _feedback(self, command: SlashCommand) -> None:
        what, _, rest = command.rest.lstrip().partition(" ")
        number, _, text = rest.lstrip().partition(" ")
        wants = {"": 0, "list": 0, "purge": 0, "show": 1, "drop": 1, "fix": 2}.get(what.strip())
        given = 0 if not number.strip() else 1 if not text.strip() else 2
        if wants is None or given != wants:
            raise command.usage()
        if what == "show":
            example = self._desk.feedback.get(number)
            place = self._desk.feedback.number(example.id)
            self._desk.emit(example_table(example, place))
        elif what == "drop":
            self._drop(number)
        elif what == "fix":
            self._correct(text, number)
        elif what == "purge":
            self._desk.ask("remove dropped feedback from the disk for good?", self._purge)
        else:
            self._list()

    def _list(self) -> None:
        store = self._desk.feedback
        table = feedback_table(store.examples())
        if table.rows:
            self._desk.emit(table)
        else:
            self._desk.say("no feedback yet: rate an answer with /good, /medium or /critical")
        first = store.first_unreadable
        if first is not None:
            lines = "line" if store.unreadable == 1 else "lines"
            self._desk.say(
                f"{store.unreadable:,} {lines} of {store.file} cannot be read and are left out; "
                f"the first is line {first.number:,}: {first.reason}"
            )

    def _drop(self, reference: str) -> None:
        example = self._desk.feedback.get(reference)
        place = self._desk.feedback.number(example.id)
        self._desk.feedback.drop(example.id)
        learned = f"; what {example.trained_in} learned of it stays" if example.trained_in else ""
        self._desk.say(f"feedback {place} is dropped{learned}")
        self._desk.tell_buffer()
        self._desk.teacher.poke()

    def _purge(self) -> None:
        count = self._desk.feedback.purge()
        if not count:
            raise UserError("there is no dropped feedback")
        self._desk.say(f"{count} dropped examples are gone from the disk")
