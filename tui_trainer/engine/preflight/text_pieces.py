"""Token ids as pieces of text, so that the pieces joined are the text. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tui_trainer.contracts.data_inspection import TextPiece

_INCOMPLETE = "\ufffd"  # what decoders write for a part of a character's bytes
_MOST_JOINED = 8  # tokens of one piece
_CONTEXT = 4  # tokens before a piece that are decoded with it: some decoders strip a first space


def text_pieces(tokenizer: Any, ids: Sequence[int], learned: Sequence[bool]) -> list[TextPiece]:
    """Return a piece for each token; tokens that are parts of one character share a piece, which is
    learned if its last token is."""
    special = {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    special.update(tokenizer.all_special_ids)
    pieces: list[TextPiece] = []
    at = 0
    while at < len(ids):
        if ids[at] in special:
            name = str(tokenizer.convert_ids_to_tokens(ids[at]))
            pieces.append(TextPiece(text=name, learned=learned[at], special=True))
            at += 1
            continue
        end = at + 1
        text = _decoded(tokenizer, ids, at, end)
        while (
            text.endswith(_INCOMPLETE)
            and end < len(ids)
            and end - at < _MOST_JOINED
            and ids[end] not in special
        ):
            end += 1
            text = _decoded(tokenizer, ids, at, end)
        pieces.append(TextPiece(text=text, tokens=end - at, learned=learned[end - 1]))
        at = end
    return pieces


def _decoded(tokenizer: Any, ids: Sequence[int], start: int, end: int) -> str:
    """Return the text that the tokens from `start` to `end` add to those before them."""
    before = list(ids[max(0, start - _CONTEXT) : start])
    prefix = _decode(tokenizer, before) if before else ""
    text = _decode(tokenizer, [*before, *ids[start:end]])
    return text[len(prefix) :]


def _decode(tokenizer: Any, ids: Sequence[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
