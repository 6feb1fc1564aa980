"""The hardware warnings of a run, such as low memory, from its events. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.dashboard.advice_panel import AdviceText
from tui_trainer.watch.snapshots import RunView

_KINDS = {
    "ram": "memory",
    "disk": "disk",
    "checkpoint_room": "no checkpoints",
    "checkpoint_ahead": "next checkpoint",
}
_OF_GPU = re.compile(r"gpu(\d+)_(memory|heat|gone)")


def open_warnings(events: Sequence[Event]) -> tuple[Event, ...]:
    """The open warnings, oldest first. Those of an engine that has ended are closed."""
    found: dict[str, Event] = {}
    for event in events:
        if event.kind == "state" and event.detail.get("state") == "preparing":
            found.clear()
        name = event.detail.get("alarm")
        if event.kind == "warning" and isinstance(name, str):
            found.pop(name, None)
            if event.detail.get("open"):
                found[name] = event
    return tuple(found.values())


def warning_texts(
    view: RunView, warnings: Sequence[Event], muted: frozenset[str], *, memory_advised: bool
) -> tuple[AdviceText, ...]:
    """The open warnings of an active run, as advice texts; those on memory are left out where
    there is advice on memory."""
    if view.summary.status not in ACTIVE_STATES:
        return ()
    items = []
    for event in reversed(warnings):
        name = str(event.detail["alarm"])
        if name in muted or (memory_advised and (name == "ram" or name.endswith("_memory"))):
            continue
        items.append(
            AdviceText(
                kind=_kind(name),
                urgency="high",
                since=formats.count(event.step),
                suggestion="",
                reason=clean(event.message),
                action="",
                warning=name,
            )
        )
    return tuple(items)


def _kind(name: str) -> str:
    gpu = _OF_GPU.fullmatch(name)
    if gpu is None:
        return _KINDS.get(name, clean(name.replace("_", " ")))
    index, what = gpu.groups()
    return f"GPU {index}" if what == "gone" else f"GPU {index} {what}"
