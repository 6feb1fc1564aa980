"""What a run's own events say of its advice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.run import Event


@dataclass(frozen=True)
class EventHistory:
    """`said` is every word about advice that stands, in order; `mutes` are (step, kind) of what
    was muted after so many steps; `applied` names the advice that was applied and not undone;
    `usual_rate` is the rate that the engine named as usual for the base."""

    said: tuple[Advice, ...] = ()
    mutes: tuple[tuple[int, str], ...] = ()
    applied: frozenset[str] = frozenset()
    usual_rate: float | None = None

    @property
    def advice(self) -> list[Advice]:
        """Every advice once, as last said, in the order in which they were raised."""
        newest: dict[str, Advice] = {}
        for advice in self.said:
            newest[advice.id] = advice
        return list(newest.values())

    @property
    def open(self) -> list[Advice]:
        """What has not been closed, oldest first."""
        return [advice for advice in self.advice if advice.status != "closed"]


def told(events: Iterable[Event]) -> EventHistory:
    """Reads events in order. What was said of steps that a resumed run did again is forgotten,
    as it was said again."""
    said: list[tuple[int, Advice]] = []
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
                said.append((event.step, advice))
        elif event.kind == "learning_rate" and isinstance(detail.get("advice"), str):
            applied.append((event.step, detail["advice"], detail.get("undone") is not True))
        elif event.kind == "command" and detail.get("command") == "mute":
            if detail.get("accepted") is True and isinstance(detail.get("kind"), str):
                mutes.append((event.step, detail["kind"]))
        elif event.kind == "rollback":
            # As a rewound resume, but that what was muted stays so.
            said = [item for item in said if item[0] <= event.step]
            mutes = [(min(step, event.step), kind) for step, kind in mutes]
            applied = [item for item in applied if item[0] < event.step]
        elif event.kind == "resumed":
            # What a person did at the checkpoint's own step is done again, as are later ones
            # but for those of a branch that was left.
            said = [item for item in said if item[0] <= event.step]
            if detail.get("rewound"):
                mutes = [item for item in mutes if item[0] < event.step]
                applied = [item for item in applied if item[0] < event.step]
    return EventHistory(
        tuple(advice for _, advice in said),
        tuple(mutes),
        frozenset(id for id, stands in {id: on for _, id, on in applied}.items() if stands),
        usual,
    )


def _advice(event: Event) -> Advice | None:
    try:
        return msgspec.convert(event.detail, Advice)
    except msgspec.ValidationError:
        return None  # another version's
