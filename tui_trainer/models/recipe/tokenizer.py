"""The tokenizer of the built-in model: byte-level BPE for any text, with a chat template."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from tui_trainer.models.recipe.tasks import TaskTurn

VOCABULARY = 2048
END, PAD, USER, ASSISTANT, SYSTEM = "<|end|>", "<|pad|>", "<|user|>", "<|assistant|>", "<|system|>"
SPECIAL = (END, PAD, USER, ASSISTANT, SYSTEM)
CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('Unknown role: ' + message['role']) -}}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' -}}"
    "{%- if message['role'] == 'assistant' -%}"
    "{%- generation -%}{{- message['content'] + '<|end|>' -}}{%- endgeneration -%}"
    "{%- else -%}"
    "{{- message['content'] + '<|end|>' -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def make_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Learn `VOCABULARY` tokens from the texts. Every digit is its own token, for arithmetic."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token=END,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    # For batched generation, which continues rows at their right end.
    tokenizer.padding_side = "left"
    return tokenizer


class Encoder:
    """Turns conversations into token ids and learned masks, faster than the chat template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in SPECIAL}

    def __call__(self, turns: list[TaskTurn]) -> tuple[list[int], list[bool]]:
        """Return token ids and, for each, whether it counts in the loss."""
        ids: list[int] = []
        learned: list[bool] = []
        end = self.ids[END]
        encoded = self.tokenizer([turn.text for turn in turns], add_special_tokens=False)
        for turn, body in zip(turns, encoded["input_ids"], strict=True):
            opening = end if turn.role == "text" else self.ids[f"<|{turn.role}|>"]
            is_learned = turn.learned and turn.role in ("assistant", "text")
            ids += [opening, *body, end]
            learned += [False] + [is_learned] * (len(body) + 1)
        return ids, learned
