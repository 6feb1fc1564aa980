"""Collects the answers that must be kept, asking the model for its own."""

from __future__ import annotations

from collections.abc import Sequence

from tui_trainer.contracts.chat import ModelReady
from tui_trainer.contracts.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching import TeachingSettings
from tui_trainer.store import paths
from tui_trainer.teaching import answer_matching, replay
from tui_trainer.teaching.answer_cache import Ask
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.replay import RetentionReserve
from tui_trainer.teaching.training_rows import KnownAnswer

# A base without a golden set is asked this many questions, and its answers are to be kept; an
# answer has at most so many tokens, and one that is cut off is not used.
OWN_QUESTIONS = 24
OWN_TOKENS = 96
_ENDINGS = (".", "!", "?", '"', "'", ")", "`")
_SHORT_WORDS = 12


def gather(
    context: TeachingContext,
    ready: ModelReady,
    corrections: Sequence[RatedExample],
    settings: TeachingSettings,
) -> RetentionReserve:
    """What is replayed, and what is asked before and after a training. Raises `UserError`."""
    ask = context.asker(ready, live=True, max_new_tokens=settings.max_new_tokens)
    examples = context.examples()
    earlier = _still_right(replay.without_corrected(replay.earlier(examples), corrections), ask)
    golden = replay.golden(context.base)
    before = _answered(replay.asked_before(context.conversation(), examples), ask)
    if golden:
        replayed, held_out = replay.split_held_out(replay.without_corrected(golden, corrections))
        return RetentionReserve(
            replayed, held_out, earlier, replay.without_corrected(before, corrections)
        )
    short = context.asker(ready, live=True, max_new_tokens=min(settings.max_new_tokens, OWN_TOKENS))
    own = [item for item in _answered(_own_questions(), short) if _looks_complete(item.answer)]
    replayed, held_out = replay.split_held_out(
        replay.without_corrected([*before, *own], corrections)
    )
    return RetentionReserve(replayed, held_out, earlier)


def _still_right(earlier: Sequence[KnownAnswer], ask: Ask) -> list[KnownAnswer]:
    """Earlier corrections that the active model still knows: those of an adapter that the user
    has unloaded are not trained again."""
    answers = ask([item.turns for item in earlier]) if earlier else []
    return [
        item
        for item, given in zip(earlier, answers, strict=True)
        if answer_matching.kept(item.answer, given)
    ]


def _answered(questions: list[list[Turn]], ask: Ask) -> list[KnownAnswer]:
    """The questions with the answers that the active model gives now."""
    answers = ask(questions) if questions else []
    return [
        KnownAnswer(turns=turns, answer=given, source="history")
        for turns, given in zip(questions, answers, strict=True)
        if given.strip()
    ]


def _own_questions() -> list[list[Turn]]:
    known = replay.read_golden(paths.builtin_model() / "questions.jsonl")
    return [item.turns for item in known[:: max(1, len(known) // OWN_QUESTIONS)]][:OWN_QUESTIONS]


def _looks_complete(answer: str) -> bool:
    """Whether an answer seems complete rather than cut off."""
    return len(answer.split()) <= _SHORT_WORDS or answer.rstrip().endswith(_ENDINGS)
