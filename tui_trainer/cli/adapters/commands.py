"""`adapters`: what was learned, from the command line."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from tui_trainer.chat.client import ChatClient
from tui_trainer.cli import common, output
from tui_trainer.cli.chat_printer import shown
from tui_trainer.contracts.adapter import AdapterInfo
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.session import TextTable
from tui_trainer.repl import tables
from tui_trainer.store.adapters.adapter_export import export_adapter
from tui_trainer.store.adapters.adapter_import import add_from
from tui_trainer.store.adapters.adapter_store import AdapterEntry, AdapterStore
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats

_json = common.json_option("Print one JSON document.")


@click.group()
@common.debug_option
def adapters() -> None:
    """List, choose, compare, merge and tidy what was learned.

    \b
    Examples:
      tui-trainer adapters list
      tui-trainer adapters load taught-20261121-1
      tui-trainer adapters export taught-20261121-1 capitals.tar.gz
    """


@adapters.command("list")
@click.option("--trash", is_flag=True, help="What was deleted and can be restored.")
@_json
@common.debug_option
def list_command(trash: bool, as_json: bool) -> None:
    """List the adapters, oldest first.

    \b
    Examples:
      tui-trainer adapters list
      tui-trainer adapters list --trash
    """
    store = AdapterStore()
    if trash:
        _list_trash(store, as_json=as_json)
        return
    found = store.list()
    if as_json:
        output.document([_facts(store, item) for item in found])
    elif found:
        live = {k: v for base in _bases(store) for k, v in store.live(base).items()}
        _print(tables.adapter_table(found, live))
    else:
        output.say("no adapters yet; the first one: tui-trainer repl, then /fix and /train")


@adapters.command()
@click.argument("name", metavar="NAME")
@_json
@common.debug_option
def show(name: str, as_json: bool) -> None:
    """Show one adapter's facts, and whether its files are whole.

    \b
    Example:
      tui-trainer adapters show taught-20261121-1 --json
    """
    store = AdapterStore()
    found = _listed(store, name)
    if as_json:
        output.document({**_facts(store, found), "problem": store.problem(name)})
    else:
        _print(tables.adapter_facts(found, store.problem(name)))


@adapters.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@common.debug_option
def load(names: tuple[str, ...]) -> None:
    """Let an adapter answer, or several with weights (A=0.7 B=0.3).

    A session that is open takes it up with its next answer.

    \b
    Examples:
      tui-trainer adapters load taught-20261121-1
      tui-trainer adapters load capitals=0.7 colours=0.3
    """
    store, weights = AdapterStore(), _weights(names)
    for name in weights:
        _whole(store, name)
    base = store.get(next(iter(weights))).base_model
    store.set_live(weights, base)
    output.say(f"{formats.escape(' '.join(names))} answers on {formats.escape(base)} from now on")


@adapters.command()
@click.option("--model", default="builtin", show_default=True, metavar="M", help="On which base.")
@common.debug_option
def unload(model: str) -> None:
    """Let the base answer alone.

    \b
    Example:
      tui-trainer adapters unload
    """
    AdapterStore().set_live({}, model)
    output.say(f"{formats.escape(model)} answers alone from now on")


@adapters.command()
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@common.debug_option
def rename(old: str, new: str) -> None:
    """Give an adapter another name.

    \b
    Example:
      tui-trainer adapters rename taught-20261121-1 capitals
    """
    AdapterStore().rename(old, new)
    output.say(f"{formats.escape(old)} is called {new} now")


@adapters.command()
@click.argument("name", metavar="NAME")
@click.option("--yes", is_flag=True, help="Do not ask.")
@common.debug_option
def delete(name: str, yes: bool) -> None:
    """Delete an adapter: it goes to a trash.

    \b
    Examples:
      tui-trainer adapters delete capitals
      tui-trainer adapters delete capitals --yes
    """
    store = AdapterStore()
    store.get(name)
    _sure(f"delete adapter {name}?", yes)
    store.delete(name)
    output.say(f"{formats.escape(name)} is in the trash; back with: tui-trainer adapters restore")


@adapters.command()
@click.argument("name", metavar="NAME")
@common.debug_option
def restore(name: str) -> None:
    """Take a deleted adapter back; the newest of that name.

    \b
    Example:
      tui-trainer adapters restore capitals
    """
    output.data(AdapterStore().restore(name))


@adapters.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@common.debug_option
def purge(yes: bool) -> None:
    """Empty the trash for good.

    \b
    Example:
      tui-trainer adapters purge --yes
    """
    _sure("delete what is in the trash for good?", yes)
    output.say(f"{AdapterStore().purge()} adapters are gone for good")


@adapters.command()
@click.argument("source", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="What to call it; without, as the run or folder.")
@common.debug_option
def add(source: Path, name: str | None) -> None:
    """Take an adapter in that was trained elsewhere: DIR is a run, or a folder in PEFT's format.

    \b
    Examples:
      tui-trainer adapters add runs/lighthouse-20261101-120000-ab12
      tui-trainer adapters add ./downloaded --name helper
    """
    output.data(add_from(AdapterStore(), source.expanduser(), name).name)


@adapters.command()
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="PATH", type=click.Path(path_type=Path))
@common.debug_option
def export(name: str, target: Path) -> None:
    """Copy an adapter to a folder, or into an archive (.tar, .tar.gz, .tgz).

    \b
    Examples:
      tui-trainer adapters export capitals ./capitals
      tui-trainer adapters export capitals capitals.tar.gz
    """
    output.data(formats.escape(str(export_adapter(AdapterStore(), name, target.expanduser()))))


@adapters.command()
@click.argument("name", metavar="NAME")
@click.argument("target", metavar="DIR", type=click.Path(path_type=Path))
@common.debug_option
def merge(name: str, target: Path) -> None:
    """Write an adapter and its base as one plain model.

    \b
    Example:
      tui-trainer adapters merge capitals ./capitals-model
    """
    store = AdapterStore()
    folder = _whole(store, name)
    with _client(store.get(name)) as client:
        written = client.merge(folder, target, on_progress=lambda t: output.say(formats.escape(t)))
    output.data(formats.escape(str(written)))


@adapters.command()
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--ask", "questions", multiple=True, metavar="TEXT", help="Ask both; repeatable.")
@_json
@common.debug_option
def compare(a: str, b: str, questions: tuple[str, ...], as_json: bool) -> None:
    """Compare two adapters: the size of their changes by layer, what they recall and keep.

    \b
    Example:
      tui-trainer adapters compare monday tuesday --ask "What is the capital of France?"
    """
    store = AdapterStore()
    folders = [_whole(store, name) for name in (a, b)]
    infos = [store.get(name) for name in (a, b)]
    turns = [[Turn("user", question)] for question in questions]
    most = load_settings().teaching.max_new_tokens
    with _client(infos[0]) as client:
        comparison = client.compare(*folders)
        answers = [client.answers(turns, adapter=f, max_new_tokens=most) for f in folders]
    asked = [list(row) for row in zip(questions, *answers, strict=True)]
    if as_json:
        keys = ("question", "a", "b")
        told = [dict(zip(keys, row, strict=True)) for row in asked]
        measured = [msgspec.to_builtins(info.after) for info in infos]
        found = {"a": a, "b": b, "comparison": comparison, "measures": measured, "answers": told}
        output.document(found)
        return
    _print(tables.comparison_table(comparison, a, b))
    output.data("")
    _print(tables.measures_table(*infos))
    if asked:
        output.data("")
        _print(tables.answers_table(asked, a, b))


def _print(table: TextTable) -> None:
    for line in shown(table):
        output.data(line)


def _list_trash(store: AdapterStore, *, as_json: bool) -> None:
    found = store.trash()
    if as_json:
        output.document([item._asdict() for item in found])
    elif found:
        _print(tables.trash_table(found))
    else:
        output.say("the trash is empty")


def _facts(store: AdapterStore, item: AdapterEntry) -> dict[str, object]:
    info = item.info
    live = store.live(info.base_model).get(info.name)
    facts: dict[str, object] = msgspec.to_builtins(info)
    path = str(store.folder(info.name))
    return {**facts, "path": path, "bytes": item.size, "queries": item.queries, "live": live}


def _listed(store: AdapterStore, name: str) -> AdapterEntry:
    wanted = store.get(name).name
    return next(item for item in store.list() if item.info.name == wanted)


def _bases(store: AdapterStore) -> set[str]:
    return {item.info.base_model for item in store.list()}


def _whole(store: AdapterStore, name: str) -> Path:
    wrong = store.problem(name)
    if wrong:
        raise UserError(f"adapter {name!r} cannot be used: {wrong}", 1)
    return store.folder(name)


def _weights(names: tuple[str, ...]) -> dict[str, float]:
    weights: dict[str, float] = {}
    for word in names:
        name, equals, text = word.partition("=")
        try:
            weights[name] = float(text) if equals else 1.0
        except ValueError:
            raise click.UsageError(f"{word!r} is not NAME or NAME=WEIGHT") from None
    return weights


def _client(info: AdapterInfo) -> ChatClient:
    return ChatClient(info.base_model, on_status=lambda text: output.say(formats.escape(text)))


def _sure(question: str, yes: bool) -> None:
    if yes:
        return
    if not output.is_interactive():
        raise UserError(f"{question} Without a terminal to ask on, say --yes")
    if not click.confirm(formats.escape(question), err=True):
        raise UserError("left as it is", 1)
