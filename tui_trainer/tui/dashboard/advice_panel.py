"""The panel with the advice on a run."""

from __future__ import annotations

from dataclasses import dataclass

from textual.content import Content

from tui_trainer.contracts.advice import URGENCIES, Advice
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import truncated, wrapped
from tui_trainer.tui.common.panel import Panel, spread, stack
from tui_trainer.watch.snapshots import RunView

_COLOURS = {
    "low": run_status.FAINT,
    "medium": run_status.CAUTION,
    "high": run_status.CAUTION,
    "critical": run_status.BAD,
}
_MOST = 3  # further kinds shown below the current one


@dataclass(frozen=True)
class AdviceText:
    """One open advice or hardware warning as text."""

    kind: str
    urgency: str
    since: str  # the step
    suggestion: str
    reason: str
    action: str  # the key and what it does; empty if it has no effect
    warning: str = ""  # the id of a hardware warning; empty for advice


@dataclass(frozen=True)
class AdviceFacts:
    """What the panel shows."""

    items: tuple[AdviceText, ...] = ()  # the current one first
    computed_here: bool = False  # whether the run has no advisor of its own
    hint: str = ""
    rows_per_mean: int = 1  # rows of the run per row that the advisor received


def open_advice(view: RunView | None, muted: frozenset[str] = frozenset()) -> list[Advice]:
    """The open advice, the most urgent first, the newest first among equals."""
    found = (view.advice or ()) if view is not None else ()
    known = [one for one in found if one.status != "closed" and one.kind not in muted]
    return sorted(known, key=lambda one: (-URGENCIES.index(one.urgency), -one.updated_step))


def newest_rate(view: RunView | None, muted: frozenset[str] = frozenset()) -> Advice | None:
    """The newest open advice that suggests a rate, which the key applies."""
    found = [one for one in open_advice(view, muted) if one.suggested_lr is not None]
    return max(found, key=lambda one: (one.updated_step, one.step), default=None)


def lone_spike(view: RunView | None, muted: frozenset[str] = frozenset()) -> Advice | None:
    """An open loss spike with a step to roll back to, where no advice suggests a rate."""
    if newest_rate(view, muted) is not None:
        return None
    spikes = [one for one in open_advice(view, muted) if one.kind == "loss_spike"]
    return next((one for one in spikes if one.good_step is not None), None)


def advice_facts_of(
    view: RunView | None, computed_here: bool, muted: frozenset[str], action: str, hint: str
) -> AdviceFacts:
    """The facts of a run. `action` is the key that applies a rate or rolls back, and what it does;
    `hint` is a further line. Both may be empty."""
    if view is None:
        return AdviceFacts()
    newest = newest_rate(view, muted) or lone_spike(view, muted)
    items = tuple(
        _text_of(one, one.id in view.applied, action if one is newest else "")
        for one in open_advice(view, muted)
    )
    return AdviceFacts(items, computed_here, hint if items else "", view.advice_rows_per_mean)


class AdvicePanel(Panel[AdviceFacts]):
    """Hidden while there is no advice; one line where there is no room for more."""

    def __init__(self) -> None:
        super().__init__(AdviceFacts(), id="advice")

    def show(self, facts: AdviceFacts) -> bool:
        self.set_class(bool(facts.items), "-open")
        return super().show(facts)

    def draw(self, facts: AdviceFacts, width: int, height: int) -> Content:
        if not facts.items:
            return Content("")
        if height == 1:
            return _line(facts, width)
        return _block(facts, width)


def _text_of(advice: Advice, applied: bool, action: str) -> AdviceText:
    suggestion = ""
    if advice.suggested_lr is not None and advice.learning_rate:
        verb = "lower" if advice.suggested_lr < advice.learning_rate else "raise"
        factor = formats.factor(advice.suggested_lr / advice.learning_rate)
        suggestion = f"{verb} to {formats.rate(advice.suggested_lr)} ({factor})"
    elif advice.factor is not None:
        suggestion = f"rate {formats.factor(advice.factor)}"
    elif advice.also_try:
        suggestion = clean(advice.also_try[0])
    return AdviceText(
        kind=advice.kind.replace("_", " "),
        urgency=advice.urgency,
        since=formats.count(advice.step),
        suggestion=suggestion,
        reason=clean(advice.reason),
        action="applied" if applied else action,
    )


def _head(item: AdviceText) -> Content:
    colour = _COLOURS.get(item.urgency, run_status.CAUTION)
    return Content.assemble(
        (f"▲ {item.urgency}", f"bold {colour}"),
        f"  {item.kind} ",
        (f"since {item.since}", "$faint"),
    )


def _line(facts: AdviceFacts, width: int) -> Content:
    first = facts.items[0]
    more = f"  +{len(facts.items) - 1}" if len(facts.items) > 1 else ""
    text = first.suggestion or (first.reason if first.warning else "")
    left = Content.assemble(" ", _head(first), (more, "$faint"), "  ", text)
    return spread(left, Content.styled(f"{first.action} ", "$accent"), width)


def _block(facts: AdviceFacts, width: int) -> Content:
    first, rest = facts.items[0], facts.items[1 : 1 + _MOST]
    label = "computed here, not by the run" if facts.computed_here else ""
    if label and facts.rows_per_mean > 1:
        label = f"computed here from means of {formats.count(facts.rows_per_mean)} rows"
    lines = [spread(Content.styled("advice", "bold"), Content.styled(label, "$faint"), width)]
    lines.append(truncated(_head(first), width))
    lines += wrapped(Content(first.reason), width)[:3]
    if first.suggestion or first.action:
        action = Content.styled(first.action, "$accent")
        lines.append(spread(Content.styled(first.suggestion, "bold"), action, width))
    for item in rest:
        lines.append(spread(_head(item), Content.styled(item.action, "$accent"), width))
    if facts.hint:
        lines += wrapped(Content.styled(facts.hint, "$accent"), width)[:3]
    return stack(*lines)
