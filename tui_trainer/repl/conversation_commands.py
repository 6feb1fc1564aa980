"""Questions, and the slash commands that change the conversation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tui_trainer.contracts.chat import session as events
from tui_trainer.contracts.chat.sampling import BaseSampling
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.repl.context import Handler, SessionContext
from tui_trainer.repl.parse import SlashCommand
from tui_trainer.repl.protocols import AnswerLike
from tui_trainer.text import formats

# Sampling of /retry where answers are greedy, so that another one comes.
_RETRY = BaseSampling(temperature=0.7, top_p=0.95)


class ConversationCommands:
    """Questions and the commands `/new /retry /system`."""

    def __init__(
        self,
        context: SessionContext,
        before_question: Callable[[], None],
        on_new_exchange: Callable[[], None],
    ) -> None:
        """`before_question` is called before each, `on_new_exchange` when the last question or
        answer has changed."""
        self._context = context
        self._before_question = before_question
        self._on_new_exchange = on_new_exchange
        self._dropped_turns = 0

    def handlers(self) -> dict[str, Handler]:
        """The handlers by command name."""
        return {"new": self._new, "retry": self._retry, "system": self._system}

    def ask(self, question: str) -> None:
        """Answer a question and add both to the conversation."""
        self._before_question()
        self._answer(question, self._context.sampling())

    def emit_continued(self) -> None:
        """Emit a notice that a conversation is continued, if its turns go into the prompt."""
        context = self._context
        recorded = context.conversation.recorded()
        turns = len(context.prompt_turns(recorded))
        if not recorded or turns == 0:
            return
        context.emit_notice(
            f"the conversation of {formats.moment(recorded[-1].time)} is continued: "
            f"{formats.plural(turns, 'earlier turn goes', 'earlier turns go')} into the prompt; "
            "/new starts a new conversation"
        )

    # -- commands ----------------------------------------------------------------------------

    def _new(self, command: SlashCommand) -> None:
        if command.arguments:
            raise command.usage()
        conversation = self._context.conversation
        system = conversation.system
        conversation.new()
        text = "a new conversation is started"
        if system:
            conversation.set_system(system)
            text += f" with the same system prompt: {formats.one_line(system)}"
        self._dropped_turns = 0
        self._on_new_exchange()
        self._context.emit_notice(text)

    def _retry(self, command: SlashCommand) -> None:
        if command.arguments:
            raise command.usage()
        context = self._context
        exchange = context.require_exchange()
        self._before_question()
        sampling = context.sampling()
        same = exchange.answer.adapter == context.active_text() and not exchange.answer.cancelled
        if sampling.temperature == 0 and same:
            sampling = BaseSampling(
                temperature=_RETRY.temperature,
                top_p=_RETRY.top_p,
                repetition_penalty=sampling.repetition_penalty,
            )
        self._answer(exchange.question, sampling, again=True)

    def _system(self, command: SlashCommand) -> None:
        context, text = self._context, command.argument_text.strip()
        if not text:
            system = context.conversation.system
            context.emit_notice(
                f"system prompt: {system}" if system else "no system prompt; /system TEXT sets one"
            )
            return
        context.conversation.set_system("" if text == "off" else text)
        context.emit_notice(
            "the system prompt is removed"
            if text == "off"
            else "the system prompt is set for this conversation; /system off removes it"
        )

    # -- asking ------------------------------------------------------------------------------

    def _answer(self, question: str, sampling: BaseSampling, *, again: bool = False) -> None:
        """Answer `question`; `again` replaces the last answer, to the same question."""
        context = self._context
        recorded = context.conversation.recorded()
        turn = Turn("user", question)
        answer = context.client.answer(
            [*context.prompt_turns(recorded[:-2] if again else recorded), turn],
            max_new_tokens=context.settings.max_new_tokens,
            on_token=lambda text: context.emit(events.Token(text=text)),
            **_arguments(sampling),
        )
        self._on_new_exchange()
        if again:
            context.conversation.remove_last()
        context.conversation.append(turn)
        context.conversation.append(
            Turn("assistant", answer.text),
            base=context.base,
            adapter=answer.adapter,
            cancelled=answer.cancelled or answer.finish == "repetition",
        )
        for name in answer.adapters:
            context.adapters.count_query(name)
        context.emit(
            events.Answered(
                query=question,
                response=answer.text,
                adapter=answer.adapter,
                tokens=answer.tokens,
                seconds=round(answer.seconds, 3),
                cancelled=answer.cancelled,
                finish=answer.finish,
            )
        )
        self._emit_limits(answer)

    def _emit_limits(self, answer: AnswerLike) -> None:
        """Emit why an answer is not complete, and how many turns did not fit into the prompt."""
        context = self._context
        if answer.finish == "repetition":
            context.emit_notice(
                "the answer was stopped because it repeats itself; /retry asks again, /set "
                "repetition_penalty 1.1 makes repetition less probable"
            )
        elif answer.finish == "length":
            context.emit_notice(
                f"the answer was stopped after {formats.plural(answer.tokens, 'token')}; /set "
                "max_new_tokens N changes the limit"
            )
        if answer.dropped_turns > self._dropped_turns:
            facts = context.client.facts
            size = "" if facts is None or facts.context is None else (
                f" of {formats.plural(facts.context, 'token')}"
            )  # fmt: skip
            context.emit_notice(
                f"the conversation does not fit into the base's context{size}: the oldest "
                f"{formats.plural(answer.dropped_turns, 'turn was', 'turns were')} left out of the "
                "prompt; /new starts a new conversation"
            )
        self._dropped_turns = answer.dropped_turns


def _arguments(sampling: BaseSampling) -> dict[str, Any]:
    """Arguments of `ChatModel.answer` that differ from greedy ones."""
    greedy = BaseSampling()
    names = ("temperature", "top_p", "top_k", "repetition_penalty")
    return {
        name: getattr(sampling, name)
        for name in names
        if getattr(sampling, name) != getattr(greedy, name)
    }
