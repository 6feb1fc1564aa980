"""Messages of the screen of adapters."""

from __future__ import annotations

from textual.message import Message

from tui_trainer.tui.adapters.adapter_rows import AdapterListing


class AdaptersRead(Message):
    """The adapters in the store were read."""

    def __init__(self, listing: AdapterListing) -> None:
        super().__init__()
        self.listing = listing
