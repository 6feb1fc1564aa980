"""From a line of text to a question or a command."""

from __future__ import annotations

from dataclasses import dataclass

from tui_trainer.contracts.errors import UserError
from tui_trainer.repl.command_table import COMMANDS, written
from tui_trainer.store import toml


@dataclass(frozen=True)
class Question:
    """Something to ask the model."""

    text: str


@dataclass(frozen=True)
class SlashCommand:
    """A slash command: `rest` is what stands behind its name, character by character."""

    name: str
    rest: str = ""

    @property
    def words(self) -> list[str]:
        """What stands behind the name, split at white space."""
        return self.rest.split()

    def usage(self) -> UserError:
        """The error of a command that is written wrongly."""
        forms = ", ".join(form for form, _ in written(self.name))
        return UserError(f"/{self.name} is written: {forms}")


def parse(line: str) -> Question | SlashCommand | None:
    """What the line asks for; None for an empty one.

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
        raise UserError("a command's name stands right behind its slash; /help lists them")
    if name not in COMMANDS:
        raise UserError(_unknown(name))
    # One white space separates; what follows is the user's own, for /fix to the character.
    rest = line.lstrip()[1 + len(name) + 1 :].removesuffix("\n")
    return SlashCommand(name, rest if rest.strip() else "")


def completions(text: str) -> list[str]:
    """The commands that a line beginning with `text` may become, each with its slash."""
    return [f"/{name}" for name in COMMANDS if f"/{name}".startswith(text)]


def _unknown(name: str) -> str:
    guess = toml.nearest(name.lower(), list(COMMANDS))
    hint = f"did you mean /{guess}?" if guess else "/help lists the commands"
    return f"there is no command /{name}; {hint} A question that begins with a slash takes two: //"
