"""The details of one adapter, and the text in place of the list where there are no adapters."""

from __future__ import annotations

from textual.content import Content

from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.text import formats
from tui_trainer.tui.adapters import adapter_rows
from tui_trainer.tui.adapters.adapter_rows import AdapterListing
from tui_trainer.tui.common.panel import Panel
from tui_trainer.tui.keymap import Keymap

AdapterFacts = tuple[AdapterEntry, AdapterListing, str]  # the last: what is wrong with its files


class AdapterPanel(Panel[AdapterFacts | None]):
    """One adapter in detail."""

    def __init__(self) -> None:
        super().__init__(None, id="adapter-facts")

    def draw(self, facts: AdapterFacts | None, width: int, height: int) -> Content:
        return Content("") if facts is None else adapter_rows.details_of(*facts, width)


def no_adapters_text(deleted: int, keys: Keymap) -> Content:
    """The text for an empty store: what goes here, and how the first one is made."""
    chat, add, trash = (
        (keys.shown_by_id(id), "bold $accent") for id in ("show_chat", "adopt", "trash")
    )
    adapters = formats.plural(deleted, "deleted adapter")
    restore = Content.assemble("\n", trash, f" restores one of {adapters}.")
    return Content.assemble(
        "no adapters yet.\n\nPress ", chat, " and correct answers in the chat: each training adds "
        "an adapter here.\nOr train a run, then press ", add,
        " on the dashboard to add its adapter.", restore if deleted else "",
    )  # fmt: skip
