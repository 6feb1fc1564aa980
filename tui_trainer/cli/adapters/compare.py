"""`adapters compare`."""

from __future__ import annotations

import click
import msgspec

from tui_trainer.cli.adapters.common import open_client, print_table
from tui_trainer.cli.common import options, output
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.repl import tables
from tui_trainer.store.adapters.adapter_store import AdapterStore
from tui_trainer.store.settings import load_settings


@click.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option(
    "--ask",
    "questions",
    multiple=True,
    metavar="TEXT",
    help="Ask both this question; may be repeated.",
)
@options.json_option("Print one JSON document.")
@options.debug_option
def compare(a: str, b: str, questions: tuple[str, ...], as_json: bool) -> None:
    """Compare two adapters by layer, measures and answers.

    Prints the size of their changes by layer, and the shares of answers recalled and kept.

    \b
    Example:
      tui-trainer adapters compare monday tuesday --ask "What is the capital of France?"
    """
    store = AdapterStore()
    for name in (a, b):
        store.check_answers(name)
    folders = [store.usable_folder(name) for name in (a, b)]
    infos = [store.get(name) for name in (a, b)]
    turns = [[Turn("user", question)] for question in questions]
    limit = load_settings().teaching.max_new_tokens
    with open_client(infos[0]) as client:
        comparison = client.compare(*folders)
        answers = [client.answers(turns, adapter=f, max_new_tokens=limit) for f in folders]
    rows = [list(row) for row in zip(questions, *answers, strict=True)]
    if as_json:
        keys = ("question", "a", "b")
        output.document(
            {
                "a": a,
                "b": b,
                "comparison": comparison,
                "measures": [msgspec.to_builtins(info.after) for info in infos],
                "answers": [dict(zip(keys, row, strict=True)) for row in rows],
            }
        )
        return
    print_table(tables.comparison_table(comparison, a, b))
    output.data("")
    print_table(tables.measures_table(*infos))
    if rows:
        output.data("")
        print_table(tables.answers_table(rows, a, b))
