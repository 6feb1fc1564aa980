"""The slash commands by name: syntax and effect."""

from __future__ import annotations

from typing import NamedTuple


class CommandForm(NamedTuple):
    """One form of a command: its arguments (those in brackets are optional) and what it does."""

    arguments: str
    help: str


COMMANDS: dict[str, tuple[CommandForm, ...]] = {
    "good": (CommandForm("[NOTE]", "the last answer is right: learn it (weight 1)"),),
    "medium": (CommandForm("[NOTE]", "the last answer is poor (weight 3); correct it with /fix"),),
    "critical": (
        CommandForm("[NOTE]", "the last answer is wrong (weight 10); correct it with /fix"),
    ),
    "fix": (CommandForm("TEXT", "give the right answer to the last question"),),
    "edit": (CommandForm("[N]", "edit the last answer, or that of feedback N, in an editor"),),
    "revise": (
        CommandForm("[NOTE]", "ask the model to answer again, with the note in the prompt"),
    ),
    "accept": (CommandForm("", "store the revised answer as the right one"),),
    "reject": (CommandForm("", "discard the revised answer"),),
    "keep": (CommandForm("", "store feedback that was held back because it looks like a secret"),),
    "train": (CommandForm("", "train on the pending feedback now"),),
    "training": (
        CommandForm("", "list the trainings with state, recalled and kept answers"),
        CommandForm("wait", "wait until all trainings have ended"),
    ),
    "override": (CommandForm("[ID]", "activate the adapter that the check refused"),),
    "cancel": (CommandForm("[ID]", "cancel a training; its examples stay pending"),),
    "feedback": (
        CommandForm("[list]", "list the feedback"),
        CommandForm("show N", "show one in full"),
        CommandForm("fix N TEXT", "give the right answer to it"),
        CommandForm("drop N", "drop it, so that it is not learned"),
        CommandForm("purge", "delete dropped feedback from the disk"),
        CommandForm("export FILE [--format jsonl|dpo|kto]", "write it to a file as training data"),
    ),
    "adapters": (
        CommandForm("[list [CONDITIONS]]", "list the adapters, such as list tag:support loss<2"),
        CommandForm("show NAME", "show one in full"),
        CommandForm(
            "edit NAME [--description TEXT] [--tag T] [--untag T]", "change description and tags"
        ),
        CommandForm("load NAME", "activate it"),
        CommandForm("unload", "deactivate all adapters"),
        CommandForm("rename OLD NEW", "rename it"),
        CommandForm("delete NAME", "move it to the trash"),
        CommandForm("trash", "list the deleted adapters"),
        CommandForm("restore NAME", "restore it from the trash"),
        CommandForm("compare A B", "compare their weights, checks and answers"),
        CommandForm("merge NAME DIR", "merge it with its base into one model"),
        CommandForm("export NAME PATH", "copy it to a folder or an archive"),
        CommandForm("add DIR [NAME]", "add an adapter that was trained elsewhere"),
    ),
    "ensemble": (CommandForm("A=0.7 B=0.3", "activate several adapters with weights"),),
    "set": (CommandForm("[KEY [VALUE]]", "show or change a setting of chat or teaching"),),
    "new": (CommandForm("", "start a new conversation"),),
    "retry": (CommandForm("", "answer the last question again, and replace the answer"),),
    "system": (
        CommandForm("TEXT", "set the system prompt of this conversation"),
        CommandForm("off", "remove it"),
        CommandForm("", "show it"),
    ),
    "yes": (CommandForm("", "confirm the question"),),
    "no": (CommandForm("", "decline the question"),),
    "help": (CommandForm("[COMMAND]", "list the commands"),),
    "quit": (CommandForm("", "leave the session"),),
}


def usage_lines(name: str) -> list[tuple[str, str]]:
    """Every form of a command as it is typed, each with what it does."""
    return [(f"/{name} {form.arguments}".rstrip(), form.help) for form in COMMANDS[name]]
