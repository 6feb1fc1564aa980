"""Slash commands that rate and correct the last answer."""

from __future__ import annotations

from collections.abc import Callable

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample, Rating, Turn
from tui_trainer.repl.context import Exchange, Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.store.feedback.secret_scan import find_secrets

StoreExample = Callable[[list[str]], RatedExample]  # takes the kinds of secrets found


class RatingCommands:
    """`/good /medium /critical /fix /edit /revise /accept /reject /keep`.

    Only right answers are taught: the model's own, if rated good, or the user's.
    """

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._held: tuple[StoreExample, bool] | None = None
        self._revision: str | None = None

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {
            "good": lambda command: self._rate("good", command.argument_text.strip()),
            "medium": lambda command: self._rate("medium", command.argument_text.strip()),
            "critical": lambda command: self._rate("critical", command.argument_text.strip()),
            "fix": self._fix,
            "edit": self._edit,
            "revise": self._revise,
            "accept": self._accept,
            "reject": self._reject,
            "keep": self._keep,
        }

    def reset(self) -> None:
        """Discard held-back feedback and a revision, after a newer answer."""
        self._held = self._revision = None

    def correct(self, correction: str, reference: str | None = None) -> None:
        """Store the right answer to the last question, or to that of the feedback `reference`
        (id or number). Raises `UserError`."""
        if not correction.strip():
            raise UserError("a correction needs a text: /fix TEXT")
        context = self._context
        if reference is not None:
            example = context.feedback.get(reference)
            self._store(
                [correction],
                example.question,
                lambda flags: self._edited(example, correction=correction, flags=flags),
                replaced=True,
            )
            return
        exchange = context.require_exchange()
        before = self._rated(exchange)
        if before is not None:
            self._store(
                [correction],
                exchange.question,
                lambda flags: self._edited(before, correction=correction, flags=flags),
                replaced=True,
            )
            return
        self._store(
            _texts(exchange, correction),
            exchange.question,
            lambda flags: self._added(exchange, "medium", "", correction, flags),
            replaced=False,
        )

    # -- commands ----------------------------------------------------------------------------

    def _rate(self, rating: Rating, note: str) -> None:
        exchange = self._context.require_exchange()
        answer = exchange.answer.content
        if rating == "good" and (exchange.answer.cancelled or not answer.strip()):
            raise UserError(
                "the answer was cut off, so it cannot be taught; give the right one with /fix TEXT"
            )
        before = self._rated(exchange)
        if before is None:
            self._store(
                _texts(exchange, note),
                exchange.question,
                lambda flags: self._added(exchange, rating, note, None, flags),
                replaced=False,
            )
            return
        # Rating a corrected answer as good replaces the correction by the answer itself.
        correction = answer if rating == "good" and before.correction is not None else None
        self._store(
            [note],
            exchange.question,
            lambda flags: self._edited(
                before, correction=correction, note=note or None, rating=rating, flags=flags
            ),
            replaced=True,
        )

    def _fix(self, command: SlashCommand) -> None:
        self.correct(command.argument_text)

    def _edit(self, command: SlashCommand) -> None:
        if command.arguments:
            example = self._context.feedback.get(command.arguments[0])
            text = example.right_answer or example.answer
            request = events.EditRequest(example=example.id, question=example.question, text=text)
        else:
            exchange = self._context.require_exchange()
            before = self._rated(exchange)
            text = (before.right_answer if before else None) or exchange.answer.content
            request = events.EditRequest(example=None, question=exchange.question, text=text)
        self._context.emit(request)

    def _revise(self, command: SlashCommand) -> None:
        exchange, context = self._context.require_exchange(), self._context
        before = self._rated(exchange)
        note = command.argument_text.strip() or (before.note if before else "")
        if not note:
            raise UserError("give a note on what is wrong with the answer: /revise NOTE")
        turns = revision_turns(exchange, note, alone=context.base == "builtin")
        answer = context.client.answer(
            turns,
            max_new_tokens=context.settings.max_new_tokens,
            on_token=lambda text: context.emit(events.Token(text=text)),
        )
        if answer.cancelled or not answer.text.strip():
            raise UserError(
                "the model gave no revised answer; give the right one with /fix TEXT", 1
            )
        if answer.text.strip() == exchange.answer.content.strip():
            raise UserError("the model gave the same answer; give the right one with /fix TEXT", 1)
        self._revision = answer.text
        context.emit(
            events.Revision(
                question=exchange.question, before=exchange.answer.content, text=answer.text
            )
        )

    def _accept(self, _: SlashCommand) -> None:
        if self._revision is None:
            raise UserError("there is no revised answer to accept; /revise NOTE asks for one")
        revision, self._revision = self._revision, None
        self.correct(revision)

    def _reject(self, _: SlashCommand) -> None:
        if self._revision is None:
            raise UserError("there is no revised answer to reject")
        self._revision = None
        self._context.emit_notice(
            "the revised answer is discarded; give the right one with /fix TEXT"
        )

    def _keep(self, _: SlashCommand) -> None:
        if self._held is None:
            raise UserError("no feedback is held back")
        (store, replaced), self._held = self._held, None
        self._save(store, replaced)

    # -- storing -----------------------------------------------------------------------------

    def _rated(self, exchange: Exchange) -> RatedExample | None:
        """The feedback on the exchange; None where it has none or it was dropped."""
        if exchange.answer.example is None:
            return None
        try:
            example = self._context.feedback.get(exchange.answer.example)
        except UserError:  # purged
            return None
        return None if example.dropped else example

    def _store(
        self, texts: list[str], question: str, store: StoreExample, *, replaced: bool
    ) -> None:
        """Store the feedback, or hold it back where a text looks like a secret."""
        found = list(dict.fromkeys(word for text in texts for word in find_secrets(text)))
        self._held = None
        if found:
            self._held = (lambda _: store(found)), replaced
            self._context.emit(events.Flagged(found=found, question=question))
        else:
            self._save(store, replaced)

    def _save(self, store: StoreExample, replaced: bool) -> None:
        example = store([])
        number = self._context.feedback.number(example.id)
        self._context.emit(rated_event(example, number, replaced=replaced))
        if example.needs_correction:
            self._context.emit(
                events.NeedsCorrection(
                    example=example.id,
                    number=number,
                    question=example.question,
                    answer=example.answer,
                )
            )
        self._context.emit_buffer()
        self._context.trainer.wake()

    def _added(
        self, exchange: Exchange, rating: Rating, note: str, correction: str | None,
        flags: list[str],
    ) -> RatedExample:  # fmt: skip
        context, facts = self._context, self._context.client.facts
        example = context.feedback.add(
            RatedExample(
                id="",
                time=0.0,
                turns=exchange.turns,
                answer=exchange.answer.content,
                rating=rating,
                note=note,
                correction=correction,
                flags=flags,
                adapter=exchange.answer.adapter,
                base_model=context.base,
                base_hash=facts.base_hash if facts else None,
            )
        )
        context.conversation.rated(example.id)
        return example

    def _edited(
        self,
        example: RatedExample,
        *,
        flags: list[str],
        correction: str | None = None,
        note: str | None = None,
        rating: Rating | None = None,
    ) -> RatedExample:
        if correction is not None and rating is None and example.rating == "good":
            rating = "medium"  # an answer that needs a correction is not good
        return self._context.feedback.edit(
            example.id,
            correction=correction,
            note=note,
            rating=rating,
            flags=[*example.flags, *flags] if flags else None,
        )


def rated_event(example: RatedExample, number: int, *, replaced: bool) -> events.Rated:
    """The event for a stored example."""
    return events.Rated(
        example=example.id,
        number=number,
        rating=example.rating,
        weight=example.weight,
        question=example.question,
        taught=example.right_answer,
        note=example.note,
        replaced=replaced,
    )


def revision_turns(exchange: Exchange, note: str, *, alone: bool) -> list[Turn]:
    """The prompt that asks the model to revise its answer; `alone` for a base that follows a
    note only within the question's own turn."""
    if alone:
        sentence = note if note.endswith((".", "!", "?")) else f"{note}."
        return [Turn("user", f"Note: {sentence} {exchange.question}")]
    return [
        *exchange.turns,
        Turn("assistant", exchange.answer.content),
        Turn(
            "user",
            f"That answer is not right. {note}\nAnswer the question again, with nothing but the "
            f"right answer: {exchange.question}",
        ),
    ]


def _texts(exchange: Exchange, other: str) -> list[str]:
    """All texts that are stored with an exchange."""
    return [*(turn.content for turn in exchange.turns), exchange.answer.content, other]
