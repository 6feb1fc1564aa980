"""Generates tokens with the decoder: one answer, which continues what is cached, or many."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Sequence
from dataclasses import dataclass, field

import torch

from tui_trainer.models.serving.decoder import Decoder, KeyValueCache
from tui_trainer.models.serving.token_choice import TokenChoice

# Tokens that are read in one forward pass, of all rows together.
_READ_AT_ONCE = 2048
# A beginning that all prompts of a batch share is read once where it has so many tokens.
_LEAST_SHARED = 8
# Rows that have ended are taken out of a batch where they are so large a share of it.
_ENDED_SHARE = 0.25


@dataclass
class Conversation:
    """What the model has read last, so that the next prompt's beginning is not read again.

    ids: the tokens in `cache`, which were read with the adapters that `key` identifies.
    """

    ids: list[int] = field(default_factory=list)
    key: Hashable = None
    cache: KeyValueCache | None = None


@torch.inference_mode()
def generate_one(
    decoder: Decoder,
    conversation: Conversation,
    prompt: Sequence[int],
    max_new_tokens: int,
    choice: TokenChoice,
    stops: Collection[int],
    ended: Callable[[list[int]], bool],
) -> list[int]:
    """The new tokens, up to and with a stop token.

    `ended` is called with the tokens so far after each, and with none between parts of a long
    prompt; the answer ends where it gives True.
    """
    cache = _continue(decoder, conversation, prompt)
    device = decoder.weights.embedding.device
    made: list[int] = []
    unread = list(prompt[cache.length :])
    while len(made) < max_new_tokens:
        part, unread = unread[:_READ_AT_ONCE], unread[_READ_AT_ONCE:]
        logits = decoder.logits(torch.tensor([part], device=device), cache)
        conversation.ids += part
        if not unread:
            token = choice.choose(logits, [*prompt, *made])
            made.append(token)
            unread = [token]
            if token in stops:
                ended(made)
                break
        if ended(made):
            break
    return made


def _continue(decoder: Decoder, conversation: Conversation, prompt: Sequence[int]) -> KeyValueCache:
    """The cache with the beginning of `prompt` that it has in common with what was read."""
    if conversation.cache is None or conversation.key != decoder.active_key:
        conversation.cache, conversation.ids = KeyValueCache(decoder.weights), []
        conversation.key = decoder.active_key
    # The last token is read again: its logits are needed.
    common = min(_common(conversation.ids, prompt), len(prompt) - 1)
    conversation.ids = conversation.ids[:common]
    conversation.cache.truncate(common)
    return conversation.cache


@torch.inference_mode()
def generate_many(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    stops: Collection[int],
    ended: Callable[[int], bool],
) -> list[list[int]]:
    """Greedy tokens for each prompt, up to and with a stop token.

    `ended` is called after every token with the number of prompts that are answered, and
    between parts of long prompts; all end where it gives True.
    """
    made: list[list[int]] = [[] for _ in prompts]
    unfinished = set(range(len(prompts)))
    batch = _Batch(decoder, prompts, max_new_tokens)
    logits = batch.read_prompts(lambda: ended(0))
    while logits is not None:
        tokens: list[int] = logits.argmax(-1).tolist()
        for row, token in zip(batch.rows, tokens, strict=True):
            if row in unfinished:
                made[row].append(token)
                if token in stops or len(made[row]) == max_new_tokens:
                    unfinished.discard(row)
        if ended(len(prompts) - len(unfinished)) or not unfinished:
            break
        logits = batch.read_tokens(tokens, unfinished)
    return made


class _Batch:
    """Prompts that are read together, padded on the left after what all of them share.

    rows: which prompt each row of the cache belongs to.
    """

    def __init__(
        self, decoder: Decoder, prompts: Sequence[Sequence[int]], max_new_tokens: int
    ) -> None:
        self.rows = list(range(len(prompts)))
        self._decoder = decoder
        self._device = decoder.weights.embedding.device
        self._cache = KeyValueCache(decoder.weights)
        self._shared = list(prompts[0][: _shared(prompts)])
        rests = [list(prompt[len(self._shared) :]) for prompt in prompts]
        width = max(map(len, rests))
        pads = [width - len(rest) for rest in rests]
        self._rests = self._tensor(
            [[0] * pad + rest for pad, rest in zip(pads, rests, strict=True)]
        )
        start = len(self._shared)
        columns = torch.arange(start + width + max_new_tokens, device=self._device)
        pad = self._tensor(pads)[:, None]
        # Each row sees what is shared and its own tokens, but no padding.
        self._visible = (columns < start) | (columns >= start + pad)
        self._positions = (columns - pad * (columns >= start)).clamp(min=0)

    def read_prompts(self, ended: Callable[[], bool]) -> torch.Tensor | None:
        """The logits after each prompt; None where `ended`, called between parts, gives True."""
        decoder, cache = self._decoder, self._cache
        for part in _parts(len(self._shared), 1):
            if ended():
                return None
            decoder.logits(self._tensor([self._shared[part]]), cache)
        cache.select([0] * len(self.rows))
        logits = None
        for part in _parts(self._rests.shape[1], len(self.rows)):
            if ended():
                return None
            logits = self._read(self._rests[:, part])
        return logits

    def read_tokens(self, tokens: Sequence[int], unfinished: Collection[int]) -> torch.Tensor:
        """Reads the newest token of every row; takes rows out that have ended, if many have."""
        kept = [at for at, row in enumerate(self.rows) if row in unfinished]
        if len(self.rows) - len(kept) >= _ENDED_SHARE * len(self.rows):
            self.rows = [self.rows[at] for at in kept]
            self._cache.select(kept)
            index = self._tensor(kept)
            self._visible, self._positions = self._visible[index], self._positions[index]
            tokens = [tokens[at] for at in kept]
        return self._read(self._tensor(tokens)[:, None])

    def _read(self, ids: torch.Tensor) -> torch.Tensor:
        start, end = self._cache.length, self._cache.length + ids.shape[1]
        mask = self._visible[:, None, :end]
        if ids.shape[1] > 1:
            new = torch.arange(start, end, device=self._device)[:, None]
            columns = torch.arange(end, device=self._device)
            # Padding sees itself: the softmax over nothing would be NaN.
            mask = (mask & (columns <= new)) | (columns == new)
        return self._decoder.logits(ids, self._cache, self._positions[:, start:end], mask)

    def _tensor(self, values: Sequence[object]) -> torch.Tensor:
        return torch.tensor(values, device=self._device)


def _parts(tokens: int, rows: int) -> list[slice]:
    """Columns to read at once, of so many tokens in so many rows."""
    step = max(1, _READ_AT_ONCE // rows)
    return [slice(at, at + step) for at in range(0, tokens, step)]


def _shared(prompts: Sequence[Sequence[int]]) -> int:
    """The length of a beginning that is worth reading once; each prompt goes on after it."""
    if len(prompts) < 2:
        return 0
    length = min(_common(prompts[0], prompt) for prompt in prompts)
    length = min(length, *(len(prompt) - 1 for prompt in prompts))
    return length if length >= _LEAST_SHARED else 0


def _common(a: Sequence[int], b: Sequence[int]) -> int:
    """How many tokens both begin with."""
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count
