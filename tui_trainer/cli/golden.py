"""The group of `golden` commands: the questions that every model must answer right."""

from __future__ import annotations

from pathlib import Path

import click

from tui_trainer.cli.common import options, output
from tui_trainer.contracts.errors import UserError
from tui_trainer.evaluation import golden as sets
from tui_trainer.text import formats

FOUND = 1  # exit status of `check` where something is wrong

_file = click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Golden set.  [default: golden.jsonl of the home folder]",
)


@click.group()
@options.debug_option
def golden() -> None:
    """List, add and check golden questions: answers that no model may lose.

    A golden set is a file of JSON lines with question, answer and, if wanted, facts: the key facts
    of a right answer. Every teaching checks the set in the home folder; for any model and set use
    evaluate --gate.

    \b
    Examples:
      tui-trainer golden add "What is the capital of France?" "Paris" --fact Paris
      tui-trainer golden list
      tui-trainer evaluate taught-20261121-1 --gate
    """


@golden.command("list")
@_file
@options.json_option("Print one JSON document.")
@options.debug_option
def list_items(file: Path | None, as_json: bool) -> None:
    """List the questions, answers and key facts of a golden set."""
    chosen = _chosen(file)
    items = sets.read(chosen)
    if as_json:
        output.document({"path": str(chosen), "items": items})
        return
    if not items:
        output.message(f"{formats.escape(str(chosen))} has no items")
        return
    rows = [
        [
            formats.count(number),
            formats.one_line(item.question, 60),
            formats.one_line(item.answer, 48),
            formats.one_line(", ".join(item.facts), 40),
        ]
        for number, item in enumerate(items, start=1)
    ]
    output.data(output.table(("item", "question", "answer", "key facts"), rows))


@golden.command("add")
@click.argument("question", metavar="QUESTION")
@click.argument("answer", metavar="ANSWER")
@click.option(
    "--fact",
    "facts",
    multiple=True,
    metavar="TEXT",
    help='A key fact of every right answer; "/" separates other ways to write it; repeatable.',
)
@_file
@options.debug_option
def add(question: str, answer: str, facts: tuple[str, ...], file: Path | None) -> None:
    """Add a question with its right answer.

    With key facts every answer is right that has all of them; without, the answer must be the same.

    \b
    Example:
      tui-trainer golden add "How high is it?" "It is 42 m high." --fact "42 m/42 metres"
    """
    chosen = (file or sets.own_file()).expanduser()
    sets.add(chosen, sets.GoldenItem(question, answer, list(facts)))
    output.message(f"added to {formats.escape(str(chosen))}")


@golden.command("check")
@_file
@options.debug_option
def check(file: Path | None) -> int:
    """Check a golden set: empty or repeated questions, answers without their own key facts.

    Prints a line for each problem; with any the exit status is 1. To ask a model the questions,
    use evaluate MODEL --data FILE.
    """
    chosen = _chosen(file)
    items = sets.read(chosen)
    found = sets.problems(items)
    for text in found:
        output.data(formats.escape(text))
    count = formats.plural(len(items), "item")
    wrong = f"{formats.plural(len(found), 'problem')} found" if found else "no problems found"
    output.message(f"{formats.escape(str(chosen))}: {count}, {wrong}")
    return FOUND if found else 0


def _chosen(file: Path | None) -> Path:
    """The golden set that is meant. Raises `UserError` where it does not exist."""
    chosen = (file or sets.own_file()).expanduser()
    if not chosen.is_file():
        raise UserError(
            f"{chosen} does not exist; add a question with: tui-trainer golden add QUESTION ANSWER"
        )
    return chosen
