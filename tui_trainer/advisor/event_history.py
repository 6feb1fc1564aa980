"""The advice recorded in a run's own events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.runs.run import Event


@dataclass(frozen=True)
class EventHistory:
    """The advice of a run, without what belongs to steps that were rolled back."""

    reports: tuple[Advice, ...] = ()  # each advice as raised, updated and closed, in order
    mutes: tuple[tuple[int, str], ...] = ()  # (step after which it was muted, kind)
    applied: frozenset[str] = frozenset()  # ids of the advice that was applied and not undone
    usual_rate: float | None = None  # usual learning rate for the base, as the engine recorded it

    @property
    def advice(self) -> list[Advice]:
        """Every advice once, as last reported, in the order in which they were raised."""
        newest: dict[str, Advice] = {}
        for advice in self.reports:
            newest[advice.id] = advice
        return list(newest.values())

    @property
    def open(self) -> list[Advice]:
        """The advice that has not been closed, oldest first."""
        return [advice for advice in self.advice if advice.status != "closed"]


def read_events(events: Iterable[Event]) -> EventHistory:
    """Reads events in order. Reports on steps that a resumed run trained again are dropped, as
    the resumed run has reported them again."""
    reports: list[tuple[int, Advice]] = []
    mutes: list[tuple[int, str]] = []
    applied: list[tuple[int, str, bool]] = []
    usual = None
    for event in events:
        detail = event.detail
        if event.kind == "setup" and isinstance(detail.get("usual_rate"), float):
            usual = detail["usual_rate"]
        if event.kind == "advice":
            advice = _advice(event)
            if advice is not None:
                reports.append((event.step, advice))
        elif event.kind == "learning_rate" and isinstance(detail.get("advice"), str):
            applied.append((event.step, detail["advice"], detail.get("undone") is not True))
        elif event.kind == "command" and detail.get("command") == "mute":
            if detail.get("accepted") is True and isinstance(detail.get("kind"), str):
                mutes.append((event.step, detail["kind"]))
        elif event.kind == "rollback":
            # As after a rewound resume, but kinds that were muted stay muted.
            reports = [item for item in reports if item[0] <= event.step]
            mutes = [(min(step, event.step), kind) for step, kind in mutes]
            applied = [item for item in applied if item[0] < event.step]
        elif event.kind == "resumed":
            # The engine repeats what the user did from the checkpoint's step on, unless those
            # steps belong to a branch that was abandoned.
            reports = [item for item in reports if item[0] <= event.step]
            if detail.get("rewound"):
                mutes = [item for item in mutes if item[0] < event.step]
                applied = [item for item in applied if item[0] < event.step]
    return EventHistory(
        tuple(advice for _, advice in reports),
        tuple(mutes),
        frozenset(id for id, active in {id: on for _, id, on in applied}.items() if active),
        usual,
    )


def _advice(event: Event) -> Advice | None:
    try:
        return msgspec.convert(event.detail, Advice)
    except msgspec.ValidationError:
        return None  # written by another version
