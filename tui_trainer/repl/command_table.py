"""The slash commands by name: how each is written and what it does."""

from __future__ import annotations

from typing import NamedTuple


class Form(NamedTuple):
    """One way to write a command, and what it does then. `rest` is what stands behind the
    name; brackets mean that it may be left out."""

    rest: str
    help: str


COMMANDS: dict[str, tuple[Form, ...]] = {
    "good": (Form("[NOTE]", "the last answer is right: learn it (weight 1)"),),
    "medium": (Form("[NOTE]", "the last answer is poor (weight 3); /fix says what is right"),),
    "critical": (Form("[NOTE]", "the last answer is wrong (weight 10); /fix says what is right"),),
    "fix": (Form("TEXT", "the right answer to the last question"),),
    "edit": (Form("[N]", "open an editor on the last answer, or on that of feedback N"),),
    "revise": (Form("[NOTE]", "let the model answer again with the note in view"),),
    "accept": (Form("", "take the revised answer as the right one"),),
    "reject": (Form("", "leave the revised answer"),),
    "keep": (Form("", "store what was held back because it looks like a secret"),),
    "train": (Form("", "start a training with what waits"),),
    "training": (
        Form("", "trainings, their queue, what they recalled and kept"),
        Form("wait", "wait until all are done and live"),
    ),
    "override": (Form("[ID]", "load the adapter that a check refused"),),
    "cancel": (Form("[ID]", "end a training; its examples keep waiting"),),
    "feedback": (
        Form("[list]", "what was rated"),
        Form("show N", "everything about one"),
        Form("fix N TEXT", "the right answer to it"),
        Form("drop N", "take it back"),
        Form("purge", "remove what was dropped from the disk"),
    ),
    "adapters": (
        Form("[list]", "what was learned"),
        Form("show NAME", "everything about one"),
        Form("load NAME", "let it answer"),
        Form("unload", "let the base answer alone"),
        Form("rename OLD NEW", "give it another name"),
        Form("delete NAME", "move it to the trash"),
        Form("trash", "what was deleted"),
        Form("restore NAME", "take it back out of the trash"),
        Form("compare A B", "their changes, what they recall and keep, their answers"),
        Form("merge NAME DIR", "write it and its base as one model"),
        Form("export NAME PATH", "copy it to a folder or an archive"),
        Form("add DIR [NAME]", "take in an adapter that was trained elsewhere"),
    ),
    "ensemble": (Form("A=0.7 B=0.3", "let several adapters answer, weighted"),),
    "set": (Form("[KEY [VALUE]]", "show or change a setting of teaching"),),
    "new": (Form("", "begin a new conversation"),),
    "yes": (Form("", "do what was asked about"),),
    "no": (Form("", "leave what was asked about"),),
    "help": (Form("[COMMAND]", "the commands"),),
    "quit": (Form("", "leave"),),
}


def written(name: str) -> list[tuple[str, str]]:
    """Every form of a command as it is typed, with what it does."""
    return [(f"/{name} {form.rest}".rstrip(), form.help) for form in COMMANDS[name]]
