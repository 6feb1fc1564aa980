"""Collects the answers that must be kept, asking the model for its own."""

from __future__ import annotations

from collections.abc import Sequence

from tui_trainer.contracts.chat.protocol import ModelReady
from tui_trainer.contracts.teaching.feedback import RatedExample, Turn
from tui_trainer.contracts.teaching.training import TeachingSettings
from tui_trainer.evaluation import answer_matching
from tui_trainer.teaching.answer_cache import Ask, OnAsked, no_progress
from tui_trainer.teaching.context import TeachingContext
from tui_trainer.teaching.retention import replay
from tui_trainer.teaching.retention.replay import RetentionReserve
from tui_trainer.teaching.retention.retained_questions import other_subjects, own_questions
from tui_trainer.teaching.training_rows import KnownAnswer

# Tokens of the base's own answers, at most. One that is cut off there is used too: what is kept is
# how the base predicts each of its tokens.
OWN_TOKENS = 48
# One own answer in so many is one of those whose input directions an adapter does not read; the
# same ones in every training, so that the directions are measured once per base.
NULL_SPACE_OF = 3


def gather(
    context: TeachingContext,
    ready: ModelReady,
    corrections: Sequence[RatedExample],
    settings: TeachingSettings,
    on_progress: OnAsked = no_progress,
) -> RetentionReserve:
    """What is replayed, and what is asked before and after a training. Raises `UserError`."""
    ask = context.asker(
        ready, live=True, max_new_tokens=settings.max_new_tokens, on_progress=on_progress
    )
    examples = context.examples()
    earlier = _still_right(replay.without_corrected(replay.earlier(examples), corrections), ask)
    golden = replay.golden(context.base)
    asked = replay.asked_before(context.conversation(), examples)
    if golden:
        before = _answered(asked, ask)
        replayed, held_out = replay.split_held_out(replay.without_corrected(golden, corrections))
        return RetentionReserve(
            replayed, held_out, earlier, replay.without_corrected(before, corrections)
        )
    base = context.asker(ready, live=False, max_new_tokens=OWN_TOKENS, on_progress=on_progress)
    answered = _own_answers(base)
    own = replay.without_corrected(answered, corrections)
    retained, held_out = replay.split_held_out(own)
    forms = [text for e in corrections for text in other_subjects(e.question)]
    retained += _answered([[Turn("user", text)] for text in forms], base)
    alone = not context.adapters.live(context.base)
    unasked = replay.without_corrected(_answered(asked, base if alone else ask), corrections)
    if alone:  # what the user asked has the base's own answers too
        retained, unasked = [*retained, *unasked], []
    return RetentionReserve(
        replayed=[],
        held_out=[item for item in held_out if item.facts],
        earlier=earlier,
        unasked=unasked,
        retained=retained,
        null_space=answered[::NULL_SPACE_OF],
    )


def _still_right(earlier: Sequence[KnownAnswer], ask: Ask) -> list[KnownAnswer]:
    """Earlier corrections that the active model still knows: those of an adapter that the user
    has unloaded are not trained again."""
    answers = ask([item.turns for item in earlier]) if earlier else []
    return [item for item, given in zip(earlier, answers, strict=True) if item.is_kept_by(given)]


def _answered(questions: list[list[Turn]], ask: Ask) -> list[KnownAnswer]:
    """The questions with the answers that the active model gives now."""
    answers = ask(questions) if questions else []
    return [
        KnownAnswer(turns=turns, answer=given, source="history")
        for turns, given in zip(questions, answers, strict=True)
        if given.strip()
    ]


def _own_answers(ask: Ask) -> list[KnownAnswer]:
    """The base's answers to the shipped questions. Key facts are noted only of those that it
    answers rightly: nothing else can be kept."""
    questions = own_questions()
    turns = [[Turn("user", item.text)] for item in questions]
    return [
        KnownAnswer(
            turns=asked,
            answer=answer,
            source="own",
            facts=item.facts if answer_matching.has_facts(item.facts, answer) else [],
        )
        for item, asked, answer in zip(questions, turns, ask(turns), strict=True)
        if answer.strip()
    ]
