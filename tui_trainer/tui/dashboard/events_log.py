"""The newest events of a run, one line each."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.contracts.runs.run import Event
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, clock
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import shorten
from tui_trainer.tui.common.panel import Panel, stack
from tui_trainer.watch.snapshots import RunView

_COLOURS = {
    "error": run_status.BAD,
    "warning": run_status.CAUTION,
    "file": run_status.CAUTION,  # a problem in the run's files, not an event
    "checkpoint": run_status.ACCENT,
    "learning_rate": run_status.ACCENT,
    "evaluation": run_status.GOOD,
    "resumed": run_status.GOOD,
    "rollback": run_status.CAUTION,
}
_KEPT = 200


@dataclass(frozen=True)
class EventLine:
    """One event as text."""

    time: str
    kind: str
    step: str
    message: str


def entries_of(view: RunView | None) -> tuple[EventLine, ...]:
    """The newest events, oldest first; warnings about the files come before them."""
    if view is None:
        return ()
    warnings = tuple(EventLine("", "file", "", clean(text)) for text in view.warnings)
    shown = [event for event in view.events[-_KEPT:] if not _has_own_event(event)]
    return warnings + tuple(_entry(event) for event in shown)


def _has_own_event(event: Event) -> bool:
    """Whether it is an accepted command, whose effect has an event of its own."""
    return event.kind == "command" and event.detail.get("accepted") is True


class EventsLog(Panel[tuple[EventLine, ...]]):
    """As many of the newest events as fit; a title above them where there is room."""

    can_focus = True

    def __init__(self) -> None:
        super().__init__((), id="events", classes="pane")

    def draw(self, facts: tuple[EventLine, ...], width: int, height: int) -> Content:
        if height <= 1:
            return _row(facts[-1], width) if facts else Content.styled("no events yet", "$faint")
        title = Content.styled("events", "bold")
        if not facts:
            return stack(title, Content.styled("none yet", "$faint"))
        return stack(title, *(_row(entry, width) for entry in facts[-(height - 1) :]))


def _entry(event: Event) -> EventLine:
    return EventLine(
        time=clock(event.time),
        kind=event.kind,
        step=formats.count(event.step),
        message=clean(event.message or event.kind),
    )


def _row(entry: EventLine, width: int) -> Content:
    when = Content.styled(f"{entry.time:<8} ", "$faint")
    step = Content.styled(f"{entry.step:>7}  ", "$faint")
    room = max(0, width - when.cell_length - step.cell_length)
    text = Content.styled(shorten(entry.message, room), _COLOURS.get(entry.kind, ""))
    return Content.assemble(when, step, text).truncate(width, ellipsis=True)
