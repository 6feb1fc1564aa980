"""Finding out what has to stay right, with the model's help."""

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

# Questions put to a base that has no golden set, whose own answers are then to be kept, and
# the tokens of an answer at most: an answer cut off there would be a bad lesson.
OWN_QUESTIONS = 24
OWN_TOKENS = 96
_ENDINGS = (".", "!", "?", '"', "'", ")", "`")
_SHORT_WORDS = 12


def gather(
    desk: TeachingContext,
    ready: ModelReady,
    corrections: Sequence[RatedExample],
    settings: TeachingSettings,
) -> RetentionReserve:
    """What is replayed and what is asked before and after; raises `UserError`."""
    ask = desk.asker(ready, live=True, longest=settings.max_new_tokens)
    examples = desk.examples()
    lessons = _still_right(replay.without_corrected(replay.earlier(examples), corrections), ask)
    golden = replay.golden(desk.base)
    before = _answered(replay.asked_before(desk.conversation(), examples), ask)
    if golden:
        replayed, held_out = replay.divide(replay.without_corrected(golden, corrections))
        return RetentionReserve(
            replayed, held_out, lessons, replay.without_corrected(before, corrections)
        )
    short = desk.asker(ready, live=True, longest=min(settings.max_new_tokens, OWN_TOKENS))
    own = [item for item in _answered(_own_questions(), short) if _whole(item.answer)]
    replayed, held_out = replay.divide(replay.without_corrected([*before, *own], corrections))
    return RetentionReserve(replayed, held_out, lessons)


def _still_right(lessons: Sequence[KnownAnswer], ask: Ask) -> list[KnownAnswer]:
    """Earlier lessons that the live model knows: those of an adapter that the user unloaded
    are not brought back in secret."""
    answers = ask([item.turns for item in lessons]) if lessons else []
    return [
        item
        for item, given in zip(lessons, answers, strict=True)
        if answer_matching.kept(item.answer, given)
    ]


def _answered(questions: list[list[Turn]], ask: Ask) -> list[KnownAnswer]:
    """The questions with the answers that the live model gives now."""
    answers = ask(questions) if questions else []
    return [
        KnownAnswer(turns=turns, answer=given, source="history")
        for turns, given in zip(questions, answers, strict=True)
        if given.strip()
    ]


def _own_questions() -> list[list[Turn]]:
    known = replay.read_golden(paths.builtin_model() / "questions.jsonl")
    return [item.turns for item in known[:: max(1, len(known) // OWN_QUESTIONS)]][:OWN_QUESTIONS]


def _whole(answer: str) -> bool:
    """Whether an answer seems to have ended by itself."""
    return len(answer.split()) <= _SHORT_WORDS or answer.rstrip().endswith(_ENDINGS)
