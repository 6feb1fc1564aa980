"""Measures what a model recalls and keeps before and after a training, and decides whether
the new adapter may be activated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.evaluation import EvaluatedItem
from tui_trainer.contracts.teaching.adapter import Measures
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.evaluation import answer_matching, gate
from tui_trainer.evaluation.gate import GateReport
from tui_trainer.teaching.answer_cache import Ask, question_id
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.plan import TrainingPlan
from tui_trainer.teaching.retention.retention_set import OWN_TOKENS
from tui_trainer.teaching.training_rows import KnownAnswer
from tui_trainer.text import formats

# Tokens that a candidate's answer may have beyond the longest expected answer.
_SPARE_TOKENS = 8


# In a training's folder: the decision, with every answer that is lost or won.
FILE = "gate.json"
_NAMED = 3  # lost answers in a message
_SHOWN = 40  # characters of each


@dataclass(frozen=True)
class GateResult:
    """The measures before and after, and the decision with what is lost and won."""

    before: Measures
    after: Measures
    report: GateReport

    @property
    def objection(self) -> str | None:
        """Why the adapter is refused, as a sentence with some of the lost questions, or None."""
        if self.report.passed:
            return None
        reason = self.report.blocked[0]
        names = [f'"{formats.one_line(item.question, _SHOWN)}"' for item in self.report.lost]
        if not names:
            return reason
        more = len(names) - _NAMED
        others = f" and {more} more" if more > 0 else ""
        return f"{reason}; no longer right: {', '.join(names[:_NAMED])}{others}"


def judge(
    taught: Sequence[KnownAnswer],
    known: Sequence[KnownAnswer],
    ask: dict[str, Ask],
    settings: TeachingSettings,
) -> GateResult:
    """Compares the candidate with the active adapters and the base.

    `ask` has the keys base, live and candidate. To be kept are the answers that the active
    model, or for golden and own questions the base, gives correctly: so a series of trainings
    cannot forget a little each time.
    """
    questions = [item.turns for item in known]
    golden = [i for i, item in enumerate(known) if item.source in ("golden", "own")]
    of_base = dict(zip(golden, ask["base"]([questions[i] for i in golden]), strict=True))
    everything = [item.turns for item in taught] + questions
    live, candidate = ask["live"](everything), ask["candidate"](everything)
    count = len(taught)
    right = [
        i
        for i, item in enumerate(known)
        if item.is_kept_by(live[count + i]) or (i in of_base and item.is_kept_by(of_base[i]))
    ]
    before = _measures(taught, known, live, right)
    after = _measures(taught, known, candidate, right)
    was_right = set(right)
    items = (
        [_item(item, live[count + i], right=i in was_right) for i, item in enumerate(known)],
        [
            _item(item, candidate[count + i], right=item.is_kept_by(candidate[count + i]))
            for i, item in enumerate(known)
        ],
    )
    report = gate.decide(([], []), items, None, limits(before, after, settings))
    return GateResult(before, after, report)


def _item(item: KnownAnswer, answer: str, *, right: bool) -> EvaluatedItem:
    return EvaluatedItem(
        where=item.source,
        question=item.question,
        reference=item.answer,
        answer=answer,
        right=right,
    )


def askers(
    context: TeachingContext, ready: ModelReady, plan: TrainingPlan, candidate: Path
) -> dict[str, Ask]:
    """Functions that ask base, active adapters and the adapter in the folder `candidate`. The
    base's own answers were cut off at `OWN_TOKENS`, and so are those that are compared with them.
    """
    max_new_tokens = plan.settings.max_new_tokens
    others = [item for item in (*plan.taught, *plan.known) if item.source != "own"]
    expected = max(len(item.answer.encode()) for item in others)
    own = {question_id(item.turns) for item in plan.known if item.source == "own"}

    def by_limit(long: Ask, short: Ask) -> Ask:
        def ask(questions: list[list[Turn]]) -> list[str]:
            is_own = [question_id(turns) in own for turns in questions]
            parts = {
                kind: iter(answer([q for q, o in zip(questions, is_own, strict=True) if o == kind]))
                for kind, answer in ((False, long), (True, short))
                if kind in is_own
            }
            return [next(parts[kind]) for kind in is_own]

        return ask

    def asker(live: bool) -> Ask:
        return by_limit(
            context.asker(ready, live=live, max_new_tokens=max_new_tokens),
            context.asker(ready, live=live, max_new_tokens=OWN_TOKENS),
        )

    # An answer has no more tokens than bytes, and one longer than expected is wrong.
    most = min(max_new_tokens, expected + _SPARE_TOKENS)
    return {
        "base": asker(live=False),
        "live": asker(live=True),
        "candidate": by_limit(
            lambda questions: context.ask(questions, candidate, most),
            lambda questions: context.ask(questions, candidate, OWN_TOKENS),
        ),
    }


def limits(before: Measures, after: Measures, settings: TeachingSettings) -> list[gate.Limit]:
    """What an adapter must reach. What the active model had already forgotten does not count
    against the new one."""
    return [
        gate.Limit(
            after.recalled,
            settings.min_recalled,
            None,
            f"it recalls only {_percent(after.recalled)} of the corrections; min_recalled is "
            f"{formats.set_share(settings.min_recalled)}",
        ),
        gate.Limit(
            after.confirmed_kept,
            settings.min_kept,
            before.confirmed_kept or 0.0,
            f"it keeps only {_percent(after.confirmed_kept)} of what was right before; min_kept is "
            f"{formats.set_share(settings.min_kept)}",
        ),
        gate.Limit(
            after.own_kept,
            settings.min_own_kept,
            before.own_kept or 0.0,
            f"it keeps only {_percent(after.own_kept)} of the base's own right answers; "
            f"min_own_kept is {formats.set_share(settings.min_own_kept)}",
        ),
    ]


def _percent(share: float | None) -> str:
    """A share with one decimal, so that one just below the limit is not rounded up to it."""
    return f"{(share or 0.0) * 100:.1f} %"


def _measures(
    taught: Sequence[KnownAnswer],
    known: Sequence[KnownAnswer],
    answers: list[str],
    right: list[int],
) -> Measures:
    """Measures of `answers` to the taught and then the known questions; of the known ones only
    those at the indices `right` count."""
    again, count = answers[len(taught) :], len(taught)
    recalled = sum(
        answer_matching.recalled(item.answer, given)
        for item, given in zip(taught, answers[:count], strict=True)
    )
    change = gate.changes([True] * len(right), [known[i].is_kept_by(again[i]) for i in right])
    own_count = sum(known[i].source == "own" for i in right)
    own_kept = sum(known[right[i]].source == "own" for i in change.kept)
    return Measures(
        recalled=recalled / count if count else None,
        kept=len(change.kept) / len(right) if right else None,
        recalled_count=count,
        kept_count=len(right),
        own_kept=own_kept / own_count if own_count else None,
        own_count=own_count,
    )
