"""The text of a row in the base's chat template, and the spans of it that are learned."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Learn
from tui_trainer.engine.data.rows import Message, Row
from tui_trainer.models.template_messages import Messages, TemplateRenderer
from tui_trainer.models.turn_end import find_turn_end, generation_stops

Span = tuple[int, int]  # start and end, in characters
Text = tuple[str, list[Span]]  # a text and what is learned of it, in order

THOUGHT_END = "</think>"  # templates leave out what is before it, of earlier answers


class _Answer(NamedTuple):
    """One answer as the last turn of a conversation, as it is when it is generated."""

    text: str  # the conversation up to the answer's end, and what the template appends
    start: int  # where the base starts to generate
    end: int  # where the answer ends
    turn: Message


class ConversationTexts:
    """Makes texts of rows for one tokenizer."""

    def __init__(self, tokenizer: Any, learn: Learn = "answers") -> None:
        self._eos = tokenizer.eos_token or ""
        self._learn = learn
        self._renderer = TemplateRenderer(tokenizer)
        self._stops = generation_stops(tokenizer)
        self._turn_end = find_turn_end(self._renderer, self._stops)

    def writes_tools(self) -> bool:
        """Return whether the chat template writes definitions of tools."""
        return self._renderer.writes("tools")

    def of_row(self, row: Row) -> list[Text]:
        """Return the row's text, or one for each answer where the template writes an answer in
        another way once the conversation goes on. What is learned starts where the base would
        start to generate, and ends with what ends the turn. Raises `UserError` for a conversation
        that the template refuses, or of which it leaves out a part."""
        if row.text is not None:
            text = row.text + self._eos
            return [(text, [(0, len(text))])]
        turns, messages = row.messages, self._renderer.messages(row.messages)
        whole = self._renderer.render(messages, ask=False, tools=row.tools)
        self._check_whole(whole, turns)
        at = [i for i, turn in enumerate(turns) if turn.role == "assistant" and turn.learned]
        if self._learn == "last":
            at = at[-1:]
        if self._learn == "all":
            at = [i for i, turn in enumerate(turns) if turn.role == "assistant"]
        answers = [self._answer(turns, messages, i, row.tools, whole) for i in at]
        if answers and at[-1] == len(turns) - 1:
            whole = answers[-1].text  # with its end, where the template writes none
        spans = [_find(answer, whole) for answer in answers]
        found = [span for span in spans if span is not None]
        if self._learn == "all":
            return self._all(whole, answers, spans)
        if len(found) == len(answers) and all(
            one[1] <= other[0] for one, other in itertools.pairwise(found)
        ):
            return [(whole, found)]
        return [(a.text, [(a.start, a.end)]) for a in answers]

    def _all(
        self, whole: str, answers: Sequence[_Answer], spans: Sequence[Span | None]
    ) -> list[Text]:
        """Return the whole text as learned, but for answers that are not to be learned."""
        end = len(whole)
        if answers and whole == answers[-1].text:
            end = answers[-1].end
        elif whole.rstrip().endswith(self._renderer.special):
            end = len(whole.rstrip())
        learned: list[Span] = []
        start = 0
        for answer, span in zip(answers, spans, strict=True):
            if answer.turn.learned:
                continue
            if span is None:
                raise UserError(
                    "an answer that is not to be learned cannot be located in the base's chat "
                    'template; use data.learn = "answers"'
                )
            learned.append((start, span[0]))
            start = span[1]
        return [(whole, [s for s in (*learned, (start, end)) if s[0] < s[1]])]

    def _answer(
        self, turns: Sequence[Message], messages: Messages, index: int, tools: str, whole: str
    ) -> _Answer:
        """Return the answer `turns[index]` as the last turn. Raises `UserError`."""
        turn = turns[index]
        prompt = self._renderer.render(messages[:index], ask=True, tools=tools)
        until = whole
        if index < len(turns) - 1:
            until = self._renderer.render(messages[: index + 1], ask=False, tools=tools)
        until, end = self._with_end(until, whole, turn)
        # Some templates open the answer with text that they drop from finished turns, such as an
        # empty thought.
        start = self._renderer.common_length(prompt, until)
        answer = until[start:end]
        most = len(prompt) if self._turn_end is None else self._turn_end.prompt
        last = turns[index - 1].content.strip() if index else ""
        if (
            (len(prompt) - start > most and last and last in prompt[start:])
            or not _is_in(_visible(turn), answer)
            or not all(call.name in answer for call in turn.tool_calls)
        ):
            what = " with tool calls" if turn.tool_calls else ""
            raise UserError(
                f"the base's chat template does not write an answer{what} after the prompt for it"
            )
        return _Answer(until, start, end, turn)

    def _with_end(self, until: str, whole: str, turn: Message) -> tuple[str, int]:
        """Return the text up to an answer with what ends it, and where it ends."""
        ending = self._turn_end
        end = len(until)
        if ending is not None and ending.appended and turn.tool_calls:
            # A call can end with another token than an answer: the one that opens its result.
            body = until.rstrip()
            token = self._renderer.special_at(whole, len(body)) if whole.startswith(body) else ""
            stops = self._renderer.tokenizer.convert_tokens_to_ids(token.strip()) in self._stops
            until = body + (token if token and stops else self._eos)
            return until, len(until)
        if ending is not None:
            until, end = ending.apply(until)
        # White space after a special token, such as ChatML's line break, is never generated.
        stripped = until[:end].rstrip()
        return until, len(stripped) if stripped.endswith(self._renderer.special) else end

    def _check_whole(self, text: str, turns: Sequence[Message]) -> None:
        """Raises `UserError` where the template leaves out a turn."""
        for turn in turns:
            if not _is_in(_visible(turn), text) and not (
                turn.role != "assistant" and self._renderer.writes(turn.role)
            ):
                raise UserError(f"the base's chat template does not write turns of {turn.role}")


def _find(answer: _Answer, whole: str) -> Span | None:
    """Return where an answer stands in the whole conversation; None where it is written in another
    way there."""
    until = answer.text[: answer.end]
    if whole.startswith(until):
        return answer.start, answer.end
    # Without the empty thought that a template opens only the last answer with.
    visible, start = _visible(answer.turn), answer.start
    if not whole.startswith(until[:start]) or answer.turn.content.strip() != visible:
        return None
    at = until.rfind(visible, start) if visible else -1
    if at < 0:
        thought = until.find(THOUGHT_END, start)
        at = thought + len(THOUGHT_END) if thought >= 0 else start
    body = until[at:].lstrip()
    skipped = len(whole) - start - len(whole[start:].lstrip())
    if body and whole.startswith(body, start + skipped):
        return start, start + skipped + len(body)
    return None


def _visible(turn: Message) -> str:
    """Return the part of a turn that every template keeps: without thoughts and outer space."""
    text = turn.content
    if turn.role == "assistant":
        text = text.rpartition(THOUGHT_END)[2]
    return text.strip()


def _is_in(part: str, text: str) -> bool:
    """Return whether a text contains a part, as it is or as in JSON."""
    return part in text or any(
        json.dumps(part, ensure_ascii=ascii_only)[1:-1] in text for ascii_only in (True, False)
    )
