"""What a model recalls and keeps, before and after a training, and whether it may go live."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tui_trainer.contracts.adapter import Measures
from tui_trainer.contracts.feedback import Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.teaching import answer_matching
from tui_trainer.teaching.training_rows import KnownAnswer

Ask = Callable[[list[list[Turn]]], list[str]]


@dataclass(frozen=True)
class GateResult:
    """The measures before and after, and why the adapter may not go live (None: it may)."""

    before: Measures
    after: Measures
    objection: str | None


def judge(
    taught: Sequence[KnownAnswer],
    known: Sequence[KnownAnswer],
    ask: dict[str, Ask],
    settings: TeachingSettings,
) -> GateResult:
    """Asks the base, what is live, and the candidate; `ask` has these three.

    What has to be kept is what the live model, or for golden questions the base, answers
    rightly: so a chain of lessons cannot forget a little each time.
    """
    questions = [item.turns for item in known]
    golden = [i for i, item in enumerate(known) if item.source == "golden"]
    of_base = dict(zip(golden, ask["base"]([questions[i] for i in golden]), strict=True))
    everything = [item.turns for item in taught] + questions
    live, candidate = ask["live"](everything), ask["candidate"](everything)
    count = len(taught)
    right = [
        i
        for i, item in enumerate(known)
        if answer_matching.kept(item.answer, live[count + i])
        or (i in of_base and answer_matching.kept(item.answer, of_base[i]))
    ]
    before = _measures(taught, known, live, right)
    after = _measures(taught, known, candidate, right)
    return GateResult(before, after, objection(before, after, settings))


def objection(before: Measures, after: Measures, settings: TeachingSettings) -> str | None:
    """Why an adapter with these measures may not go live, in words, or None."""
    if after.recalled is not None and after.recalled < settings.min_recalled:
        return (
            f"it recalls only {after.recalled:.0%} of the corrections, "
            f"min_recalled is {settings.min_recalled:.0%}"
        )
    # What the live model had lost already is not held against its successor.
    if after.kept is not None and after.kept < min(settings.min_kept, before.kept or 0.0):
        return (
            f"it keeps only {after.kept:.1%} of what was right before, "
            f"min_kept is {settings.min_kept:.0%}"
        )
    return None


def _measures(
    taught: Sequence[KnownAnswer],
    known: Sequence[KnownAnswer],
    answers: list[str],
    right: list[int],
) -> Measures:
    """`answers` to the taught questions and then the known; only the `right` known ones count."""
    again, count = answers[len(taught) :], len(taught)
    recalled = sum(
        answer_matching.recalled(item.answer, given)
        for item, given in zip(taught, answers[:count], strict=True)
    )
    kept = sum(answer_matching.kept(known[i].answer, again[i]) for i in right)
    return Measures(
        recalled=recalled / count if count else None,
        kept=kept / len(right) if right else None,
        recalled_count=count,
        kept_count=len(right),
    )
