"""The filter of the list of adapters. No I/O."""

from __future__ import annotations

import time
from collections.abc import Sequence

from tui_trainer.store.adapters.adapter_store import AdapterEntry
from tui_trainer.watch.query.adapter_fields import ADAPTERS, matching, score_names
from tui_trainer.watch.query.query import ItemQuery, in_effect, parse_for


class AdapterFilter:
    """The conditions in effect; conditions with a mistake do not replace them."""

    def __init__(self) -> None:
        self.text = ""  # of the conditions in effect
        self._query = ItemQuery(ADAPTERS)

    def apply(self, text: str, every: Sequence[AdapterEntry], *, typing: bool) -> str | None:
        """Apply the conditions in `text`, without a last word that matches nothing and may be the
        start of a condition still being typed; return what is wrong with them, one sentence, or
        None."""
        scores = score_names(every)
        typed = parse_for(ADAPTERS, text, scores)
        if typed.problem is not None:
            return typed.problem
        names = [*ADAPTERS.fields, *scores] if typing else []
        now = time.time()
        self._query, self.text = in_effect(
            typed, text, names, lambda query: any(matching(every, query, now))
        )
        return None

    def matching(self, every: Sequence[AdapterEntry]) -> tuple[AdapterEntry, ...]:
        """The adapters that satisfy the conditions in effect."""
        return tuple(matching(every, self._query, time.time()))
