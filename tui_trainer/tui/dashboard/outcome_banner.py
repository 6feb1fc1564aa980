"""The banner above the charts: how a run ended and what to do next."""

from __future__ import annotations

from dataclasses import dataclass, replace

from textual.content import Content

from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import shorten, wrapped
from tui_trainer.tui.common.panel import Panel, stack
from tui_trainer.watch.snapshots import RunView
from tui_trainer.watch.unreadable_runs import UNREADABLE

_LOG_LINES = 6


@dataclass(frozen=True)
class OutcomeText:
    """How a run ended; all empty while it runs."""

    status: str = ""
    message: str = ""
    log: tuple[str, ...] = ()  # the last lines of the engine's output
    hint: str = ""  # what to do next
    adapter: str = ""  # path of the result


def outcome_of(view: RunView | None, resume: str) -> OutcomeText:
    """The outcome of an ended run, or why a run cannot be read. `resume` says how to resume it."""
    if view is None:
        return OutcomeText()
    outcome, problem = _ended(view, resume), clean(view.summary.problem)
    if not problem:
        return outcome
    if not outcome.status:
        return OutcomeText(UNREADABLE, problem)
    return replace(outcome, message="; ".join(filter(None, (outcome.message, problem))))


def _ended(view: RunView, resume: str) -> OutcomeText:
    if view.summary.kind != "run":
        return OutcomeText()
    status = view.summary.status
    message = clean(view.summary.message)
    if status in ("failed", "crashed"):
        if status == "crashed":
            step = formats.count(view.summary.step)
            message = f"the training process ended unexpectedly after step {step}"
        log = tuple(clean(line) for line in view.log_tail[-_LOG_LINES:])
        return OutcomeText(status, message, log, resume)
    if status == "cancelled":
        return OutcomeText(status, message, (), resume)
    if status in ("completed", "early_stopped"):
        if not view.summary.ours:
            return OutcomeText(status, message)
        adapter = clean(str(view.summary.path / "adapter"))
        return OutcomeText(status, message, adapter="" if adapter in message else adapter)
    return OutcomeText()


class OutcomeBanner(Panel[OutcomeText]):
    """Hidden while the run has not ended."""

    def __init__(self) -> None:
        super().__init__(OutcomeText(), id="outcome")

    def show(self, facts: OutcomeText) -> bool:
        self.display = bool(facts.status)
        for colour in (run_status.GOOD, run_status.CAUTION, run_status.BAD):
            self.set_class(
                run_status.colour(facts.status) == colour, f"-{colour.removeprefix('$')}"
            )
        return super().show(facts)

    def draw(self, facts: OutcomeText, width: int, height: int) -> Content:
        screen = self.screen.size.height
        room = _LOG_LINES if screen >= 44 else (4 if screen >= 32 else 2)
        first = Content.assemble(run_status.badge(facts.status), "  ", facts.message)
        log = [
            Content.styled(shorten(line, width), "$faint").truncate(width, ellipsis=True)
            for line in facts.log[-room:]
        ]
        # A command can be copied, so it is never shortened; the adapter's path is: the details show
        # it in full.
        last = facts.hint or (shorten(f"adapter {facts.adapter}", width) if facts.adapter else "")
        hint = Content.styled(last, "$accent")
        joined = Content.assemble(first, "  ", hint) if last else first
        if not log and joined.cell_length <= width:
            return joined
        return stack(*wrapped(first, width), *log, *(wrapped(hint, width) if last else ()))
