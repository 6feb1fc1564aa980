"""How a run ended and what can be done now: one banner above the charts."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.tui import states
from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.text import count_text, shorten, wrapped
from tui_trainer.tui.widgets.panel import Panel, stack
from tui_trainer.watch.view import RunView

_LOG_LINES = 6


@dataclass(frozen=True)
class Outcome:
    """What happened, what the engine printed last, what to do, and where the adapter is; empty
    where a run goes on."""

    status: str = ""
    message: str = ""
    log: tuple[str, ...] = ()
    hint: str = ""
    adapter: str = ""


def outcome_of(view: RunView | None, resume: str) -> Outcome:
    """The outcome of an ended run. `resume` says how one carries it on."""
    if view is None or view.summary.kind != "run":
        return Outcome()
    status = view.summary.status
    message = clean(view.summary.message)
    if status in ("failed", "crashed"):
        if status == "crashed":
            message = f"the training process is gone since step {count_text(view.summary.step)}"
        log = tuple(clean(line) for line in view.log_tail[-_LOG_LINES:])
        return Outcome(status, message, log, resume)
    if status == "cancelled":
        return Outcome(status, message, (), resume)
    if status in ("completed", "early_stopped"):
        if not view.summary.ours:
            return Outcome(status, message)
        adapter = clean(str(view.summary.path / "adapter"))
        return Outcome(status, message, adapter="" if adapter in message else adapter)
    return Outcome()


class OutcomeBanner(Panel[Outcome]):
    """Hidden while a run goes on."""

    def __init__(self) -> None:
        super().__init__(Outcome(), id="outcome")

    def show(self, facts: Outcome) -> bool:
        self.display = bool(facts.status)
        for colour in (states.GOOD, states.CAUTION, states.BAD):
            self.set_class(states.colour(facts.status) == colour, f"-{colour.removeprefix('$')}")
        return super().show(facts)

    def draw(self, facts: Outcome, width: int, height: int) -> Content:
        screen = self.screen.size.height
        room = _LOG_LINES if screen >= 44 else (4 if screen >= 32 else 2)
        first = Content.assemble(states.badge(facts.status), "  ", facts.message)
        log = [
            Content.styled(shorten(line, width), "$faint").truncate(width, ellipsis=True)
            for line in facts.log[-room:]
        ]
        # A command is to be copied, so it stays whole. The run's folder is in the details, so one
        # line is enough for the adapter.
        last = facts.hint or (shorten(f"adapter {facts.adapter}", width) if facts.adapter else "")
        hint = Content.styled(last, "$accent")
        joined = Content.assemble(first, "  ", hint) if last else first
        if not log and joined.cell_length <= width:
            return joined
        return stack(*wrapped(first, width), *log, *(wrapped(hint, width) if last else ()))
