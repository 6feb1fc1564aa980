"""The slash commands by name: how each is written and what it does."""

from __future__ import annotations

from typing import NamedTuple


class CommandForm(NamedTuple):
    """One way to write a command, and what it does then. `rest` is what stands behind the
    name; brackets mean that it may be left out."""

    rest: str
    help: str


COMMANDS: dict[str, tuple[CommandForm, ...]] = {
    "good": (CommandForm("[NOTE]", "the last answer is right: learn it (weight 1)"),),
    "medium": (
        CommandForm("[NOTE]", "the last answer is poor (weight 3); /fix says what is right"),
    ),
    "critical": (
        CommandForm("[NOTE]", "the last answer is wrong (weight 10); /fix says what is right"),
    ),
    "fix": (CommandForm("TEXT", "the right answer to the last question"),),
    "edit": (CommandForm("[N]", "open an editor on the last answer, or on that of feedback N"),),
    "revise": (CommandForm("[NOTE]", "let the model answer again with the note in view"),),
    "accept": (CommandForm("", "take the revised answer as the right one"),),
    "reject": (CommandForm("", "leave the revised answer"),),
    "keep": (CommandForm("", "store what was held back because it looks like a secret"),),
    "train": (CommandForm("", "start a training with what waits"),),
    "training": (
        CommandForm("", "trainings, their queue, what they recalled and kept"),
        CommandForm("wait", "wait until all are done and live"),
    ),
    "override": (CommandForm("[ID]", "load the adapter that a check refused"),),
    "cancel": (CommandForm("[ID]", "end a training; its examples keep waiting"),),
    "feedback": (
        CommandForm("[list]", "what was rated"),
        CommandForm("show N", "everything about one"),
        CommandForm("fix N TEXT", "the right answer to it"),
        CommandForm("drop N", "take it back"),
        CommandForm("purge", "remove what was dropped from the disk"),
    ),
    "adapters": (
        CommandForm("[list]", "what was learned"),
        CommandForm("show NAME", "everything about one"),
        CommandForm("load NAME", "let it answer"),
        CommandForm("unload", "let the base answer alone"),
        CommandForm("rename OLD NEW", "give it another name"),
        CommandForm("delete NAME", "move it to the trash"),
        CommandForm("trash", "what was deleted"),
        CommandForm("restore NAME", "take it back out of the trash"),
        CommandForm("compare A B", "their changes, what they recall and keep, their answers"),
        CommandForm("merge NAME DIR", "write it and its base as one model"),
        CommandForm("export NAME PATH", "copy it to a folder or an archive"),
        CommandForm("add DIR [NAME]", "take in an adapter that was trained elsewhere"),
    ),
    "ensemble": (CommandForm("A=0.7 B=0.3", "let several adapters answer, weighted"),),
    "set": (CommandForm("[KEY [VALUE]]", "show or change a setting of teaching"),),
    "new": (CommandForm("", "begin a new conversation"),),
    "yes": (CommandForm("", "do what was asked about"),),
    "no": (CommandForm("", "leave what was asked about"),),
    "help": (CommandForm("[COMMAND]", "the commands"),),
    "quit": (CommandForm("", "leave"),),
}


def written(name: str) -> list[tuple[str, str]]:
    """Every form of a command as it is typed, with what it does."""
    return [(f"/{name} {form.rest}".rstrip(), form.help) for form in COMMANDS[name]]
