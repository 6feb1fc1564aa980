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

_MOST_ROWS = 3


@dataclass(frozen=True)
class OutcomeText:
    """How a run ended; all empty while it runs."""

    status: str = ""
    message: str = ""
    hint: str = ""  # what to do next
    adapter: str = ""  # path of the result


def outcome_of(view: RunView | None, hint: str, log_key: str = "") -> OutcomeText:
    """The outcome of an ended run, or why a run cannot be read. `hint` says what can be done next;
    `log_key` shows the output of a process that ended."""
    if view is None:
        return OutcomeText()
    outcome, problem = _ended(view, hint, log_key), clean(view.summary.problem)
    if not problem:
        return outcome
    if not outcome.status:
        return OutcomeText(UNREADABLE, problem)
    return replace(outcome, message="; ".join(filter(None, (outcome.message, problem))))


def _ended(view: RunView, hint: str, log_key: str) -> OutcomeText:
    if view.summary.kind != "run":
        return OutcomeText()
    status = view.summary.status
    message = clean(view.summary.message)
    if status in ("failed", "crashed"):
        if status == "crashed":
            step = formats.count(view.summary.step)
            message = f"the training process ended unexpectedly after step {step}"
            if log_key and view.log_tail:
                message += f"; {log_key} shows its log"
        return OutcomeText(status, message, hint)
    if status == "cancelled":
        return OutcomeText(status, message, hint)
    if status in ("completed", "early_stopped"):
        if not view.summary.ours:
            return OutcomeText(status, message)
        adapter = clean(str(view.summary.path / "adapter"))
        return OutcomeText(status, message, hint, adapter="" if adapter in message else adapter)
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
        first = Content.assemble(run_status.badge(facts.status), "  ", facts.message)
        if facts.adapter:  # the details show it in full
            first = Content.assemble(first, "  ", shorten(f"adapter {facts.adapter}", width))
        if not facts.hint:
            return stack(*_at_most(wrapped(first, width), _MOST_ROWS, width))
        hint = Content.styled(facts.hint, "$accent")
        joined = Content.assemble(first, "  ", hint)
        if joined.cell_length <= width:
            return joined
        # A command in the hint can be copied, so that it is never shortened.
        last = wrapped(hint, width)
        return stack(*_at_most(wrapped(first, width), max(1, _MOST_ROWS - len(last)), width), *last)


def _at_most(lines: list[Content], rows: int, width: int) -> list[Content]:
    """The lines in so many rows, the last of which is cut where there are more."""
    rest = Content(" ").join(lines[rows - 1 :])
    return [*lines[: rows - 1], rest.truncate(width, ellipsis=True)]
