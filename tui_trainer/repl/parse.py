"""Parses a line of text into a question or a command."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.command_table import COMMANDS, usage_lines
from tui_trainer.text.similar import nearest


@dataclass(frozen=True)
class Question:
    """A question to the model."""

    text: str


@dataclass(frozen=True)
class SlashCommand:
    """A slash command; `argument_text` is the text after its name, unchanged."""

    name: str
    argument_text: str = ""

    @property
    def arguments(self) -> list[str]:
        """The text after the name, split at white space."""
        return self.argument_text.split()

    def words(self) -> list[str]:
        """The text after the name, split at white space outside quotation marks, which allow paths
        with spaces. Raises `UserError` for one that is not closed."""
        try:
            return shlex.split(self.argument_text)
        except ValueError:
            raise self.usage() from None

    def usage(self) -> UserError:
        """The error for wrong arguments."""
        forms = ", ".join(form for form, _ in usage_lines(self.name))
        return UserError(f"usage: {forms}")


def parse(line: str) -> Question | SlashCommand | None:
    """Parse a line; return None for an empty one.

    A line beginning with `//` is a question that begins with one slash. Raises `UserError`
    for an unknown command.
    """
    text = line.strip()
    if not text:
        return None
    if text.startswith("//"):
        return Question(text[1:])
    if not text.startswith("/"):
        return Question(text)
    name = text[1:].split(maxsplit=1)[0] if text[1:].strip() else ""
    if not name or text[1].isspace():
        raise UserError("write a command's name directly after its slash; /help lists the commands")
    if name not in COMMANDS:
        raise UserError(_unknown(name))
    # One white space separates them; /fix takes everything after it unchanged.
    rest = line.lstrip()[1 + len(name) + 1 :].removesuffix("\n")
    return SlashCommand(name, rest if rest.strip() else "")


def completions(text: str) -> list[str]:
    """The commands that a line beginning with `text` may become, each with its slash."""
    return [f"/{name}" for name in COMMANDS if f"/{name}".startswith(text)]


def _unknown(name: str) -> str:
    guess = nearest(name.lower(), list(COMMANDS))
    hint = f"did you mean /{guess}?" if guess else "/help lists the commands."
    return f"there is no command /{name}; {hint} Type // to begin a question with a slash"
