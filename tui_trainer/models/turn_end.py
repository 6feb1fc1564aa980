"""What ends an answer in a base's chat template."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.models.template_messages import Messages, TemplateRenderer

# Words that no template contains, in place of contents.
_QUESTION, _ANSWER, _AGAIN = "Qzkvelm", "Azkvelm", "Bzkvelm"


@dataclass(frozen=True)
class TurnEnd:
    """How the last answer of a conversation ends."""

    written: str  # what the template writes after the last answer, to the end of the text
    end: str  # what ends the answer: the start of `written`, or what is appended instead of it
    prompt: int  # most characters that the template writes between a question and an answer

    @property
    def appended(self) -> bool:
        """Whether the template writes no end after the last answer."""
        return bool(self.end) and not self.written.startswith(self.end)

    def apply(self, text: str) -> tuple[str, int]:
        """Return a text whose last turn is an answer, with the answer's end, and where it ends."""
        if not text.endswith(self.written):  # such as a tool call, which may end in another way
            return text, len(text)
        body = len(text) - len(self.written)
        if self.appended:
            text = text[:body] + self.end
        return text, body + len(self.end)

    def token(self, tokenizer: Any) -> int | None:
        """Return the id of the special token that is the end; None where it is none."""
        ids = tokenizer(self.end.strip(), add_special_tokens=False).input_ids
        special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
        return int(ids[0]) if ids and ids[0] in special else None


def find_turn_end(renderer: TemplateRenderer, stops: tuple[int, ...] = ()) -> TurnEnd | None:
    """Return how answers end, where the template renders a question and an answer; else None.

    What the template also writes after answers before the last is the end. Where that is nothing,
    it is the special token after the last; and where that is nothing, too, it is the token that
    opens the user's turn, if it is one of `stops` (the base's end-of-text tokens), or else the
    end-of-text token.
    """
    opening: Messages = [
        {"role": "user", "content": _QUESTION},
        {"role": "assistant", "content": _ANSWER},
    ]
    try:
        text = renderer.render(opening, ask=False)
        asked = renderer.render(opening[:1], ask=True)
    except UserError:
        return None
    if _ANSWER not in text or _QUESTION not in asked:
        return None
    written = text.rpartition(_ANSWER)[2]
    prompt = len(asked.rpartition(_QUESTION)[2])
    following = _following(renderer, opening)
    common = written
    if following is not None:
        common = written[: renderer.common_length(written, following)]
    stripped = common.rstrip()
    if stripped.endswith(renderer.special):
        return TurnEnd(written, stripped, prompt)
    if stripped:
        return TurnEnd(written, common, prompt)
    if written.strip():
        return TurnEnd(written, renderer.special_at(written, 0) or written, prompt)
    opener = renderer.special_at(following or "", 0)
    tokenizer = renderer.tokenizer
    if opener and (
        tokenizer.convert_tokens_to_ids(opener.strip()) in stops or not tokenizer.eos_token
    ):
        return TurnEnd(written, opener, prompt)
    return TurnEnd(written, tokenizer.eos_token or "", prompt)


def _following(renderer: TemplateRenderer, opening: Messages) -> str | None:
    """Return what the template writes between an answer and the next question's text; None where
    it refuses a second question."""
    again = [*opening, {"role": "user", "content": _AGAIN}]
    try:
        text = renderer.render(again, ask=True)
    except UserError:
        return None
    between, found, _ = text.rpartition(_ANSWER)[2].partition(_AGAIN)
    return between if found and _ANSWER in text else None


def generation_stops(tokenizer: Any) -> tuple[int, ...]:
    """Return the end-of-text tokens of the base's settings for generating, which `load_tokenizer`
    keeps with the tokenizer."""
    return tuple(getattr(tokenizer, "generation_stops", ()))
