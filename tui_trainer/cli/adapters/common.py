"""What the `adapters` commands share."""

from __future__ import annotations

import msgspec

from tui_trainer.chat.client import ChatClient
from tui_trainer.cli.common import output
from tui_trainer.cli.common.chat_printer import result_lines
from tui_trainer.contracts.chat.session import TextTable
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.store.adapters.adapter_store import AdapterEntry, AdapterStore
from tui_trainer.store.settings import load_settings
from tui_trainer.text import formats


def print_table(table: TextTable) -> None:
    """Print a table to standard output."""
    for line in result_lines(table):
        output.data(line)


def document_of(store: AdapterStore, entry: AdapterEntry) -> dict[str, object]:
    """The facts about an adapter as they are printed in JSON."""
    info = entry.info
    facts: dict[str, object] = msgspec.to_builtins(info)
    return {
        **facts,
        "path": str(store.folder(info.name)),
        "bytes": entry.size,
        "queries": entry.queries,
        "evaluations": [msgspec.to_builtins(scores) for scores in entry.evaluations],
        "unreadable_evaluations": list(entry.unreadable),
        "live": store.live(info.base_model).get(info.name),
    }


def next_step(info: AdapterInfo) -> str:
    """What an added adapter is, and the command that uses it."""
    name = formats.escape(info.name)
    if info.task == "classification":
        return f"it is a classifier; classify texts with tui-trainer predict {name} FILE"
    return f"it answers in the chat; activate it with tui-trainer adapters load {name}"


def open_client(info: AdapterInfo) -> ChatClient:
    """A client for the base of an adapter; progress of loading goes to standard error."""
    return ChatClient(
        info.base_model,
        quantization=load_settings().chat.quantization,
        on_status=lambda text: output.message(formats.escape(text)),
    )
