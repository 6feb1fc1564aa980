"""Answers in the chat templates of current bases (of an installed `trl`), and in our own ones that
have their peculiarities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tables.templates import KINDS, learned_of, make_tokenizer, template_files
from tui_trainer.engine.data.dataset import encode_part
from tui_trainer.engine.data.rows import Message, ReadRows, Row
from tui_trainer.engine.data.tokens.encoding import tokenise_rows
from tui_trainer.engine.data.tokens.token_arrays import pack
from tui_trainer.engine.data.tokens.token_table import build
from tui_trainer.engine.data.tokens.tokenizer_pool import TokenizerPool
from tui_trainer.models.chat_template import fit

ANSWERS = {
    "one turn": ["A plum."],
    "two turns": ["A plum.", "A crow."],
    "system": ["A plum."],
    "two users in a row": ["A plum."],
    "tool call": ["weather_of", "It rains."],
    "thoughts": ["A plum.", "A crow."],
    "question at the end": ["A plum."],
}
NOT_LEARNED = ("Name a fruit", "And a bird", "Hello", "Be brief", "What is the", "Rain.", "Thanks")
# Templates that refuse these conversations by their own words.
OFTEN_REFUSED = ("system", "two users in a row", "tool call")
TURNS = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
ASK = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
# As in GLM-4.5's: a turn ends where the next begins.
WITHOUT_END = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" + ASK
# As in gpt-oss's: the last answer ends in another way.
OTHER_END = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
    "{% if loop.last and m.role == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}"
    "{% endfor %}" + ASK
)
# As in Phi-3's: a token after the last turn.
APPENDS = TURNS + "{% if add_generation_prompt %}<|assistant|>{% else %}{{ eos_token }}{% endif %}"
CALLS = (
    "{% if tools %}{% for t in tools %}<|tool|>{{ t.function.name }}<|end|>{% endfor %}{% endif %}"
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% for c in m.tool_calls or [] %}"
    "<|call|>{{ c.function.name }}{{ c.function.arguments.place }}{{ c.function.arguments.key }}"
    "{% if c.id|length != 9 %}{{ raise_exception('nine characters') }}{% endif %}"
    "{% endfor %}<|end|>{% endfor %}" + ASK
)


@pytest.mark.skipif(not template_files(), reason="needs trl, or a folder TUI_TRAINER_TEMPLATES")
@pytest.mark.parametrize("file", template_files(), ids=lambda file: file.stem)
@pytest.mark.parametrize("kind", KINDS)
def test_every_answer_of_a_real_template_is_learned_with_an_end(kind: str, file: Path) -> None:
    tokenizer = make_tokenizer(file.read_text(encoding="utf-8"))
    found = learned_of(KINDS[kind], tokenizer)
    if found.refused:
        assert kind in OFTEN_REFUSED
        return
    parts = [part for example in found.examples for part in example]
    assert len(parts) == len(ANSWERS[kind])
    for part, answer in zip(parts, ANSWERS[kind], strict=True):
        assert answer in part
        assert part.rpartition(answer)[2], "the end is learned"
        assert not any(text in part for text in NOT_LEARNED)


@pytest.mark.parametrize(
    ("template", "examples"),
    [
        (WITHOUT_END, [["A plum.<eos>"], ["A crow.<eos>"]]),
        (OTHER_END, [["A plum.<|return|>"], ["A crow.<|return|>"]]),
        (APPENDS, [["A plum.<|end|>", "A crow.<|end|>"]]),
        (TURNS + ASK, [["A plum.<|end|>", "A crow.<|end|>"]]),
    ],
    ids=["without an end", "another end", "appends", "plain"],
)
def test_two_answers(template: str, examples: list[list[str]]) -> None:
    tokenizer = make_tokenizer(template + "{# <|user|><|assistant|> #}")
    assert learned_of(KINDS["two turns"], tokenizer).examples == examples


def test_a_turn_that_ends_where_the_next_begins_ends_with_the_token_that_generation_stops_at() -> (
    None
):
    tokenizer = make_tokenizer(WITHOUT_END + "{# <|user|><|assistant|> #}")
    tokenizer.generation_stops = (tokenizer.convert_tokens_to_ids("<|user|>"),)
    found = learned_of(KINDS["two turns"], tokenizer).examples
    assert found == [["A plum.<|user|>", "A crow.<|user|>"]]


@pytest.mark.parametrize(
    ("learn", "parts"),
    [
        ("answers", ["A plum.<|end|>", "A crow.<|end|>"]),
        ("last", ["A crow.<|end|>"]),
        (
            "all",
            [
                "<|user|>Name a fruit.<|end|><|assistant|>A plum.<|end|>"
                "<|user|>And a bird?<|end|><|assistant|>A crow.<|end|>"
            ],
        ),
    ],
)
def test_what_is_learned(learn: str, parts: list[str]) -> None:
    tokenizer = make_tokenizer(APPENDS)
    assert learned_of(KINDS["two turns"], tokenizer, learn).examples == [parts]


def test_an_answer_of_no_weight_is_not_learned_of_the_whole_text() -> None:
    turns = KINDS["two turns"].messages
    unlearned = Message("assistant", "A plum.", learned=False)
    row = Row((turns[0], unlearned, *turns[2:]), None, 1.0, "row")
    (parts,) = learned_of(row, make_tokenizer(APPENDS), "all").examples
    assert [("plum" in part, "crow" in part) for part in parts] == [(False, False), (False, True)]


@pytest.mark.parametrize("template", [TURNS + ASK, "{{ bos_token }}" + TURNS + ASK, None])
def test_beginning_of_text_is_there_once(template: str | None) -> None:
    tokenizer = make_tokenizer(template or "", adds_bos=True)
    text = Row((), "The elm stands by the mill.", 1.0, "row")
    tokens = tokenise_rows([KINDS["one turn"], text], tokenizer, 100)
    prompt = fit(tokenizer, KINDS["one turn"].messages[:1], None, 8).input_ids
    for ids in (*tokens.ids, prompt):
        assert ids[0] == tokenizer.bos_token_id
        assert ids.count(tokenizer.bos_token_id) == 1
    assert tokens.ids[0][: len(prompt)] == prompt


def test_calls_and_definitions_reach_the_template() -> None:
    found = learned_of(KINDS["tool call"], make_tokenizer(CALLS))
    assert found.examples == [["<|call|>weather_ofQuay<|end|>", "It rains.<|end|>"]]
    assert found.texts[0].startswith("<|tool|>weather_of<|end|>")
    without = learned_of(KINDS["tool call"], make_tokenizer(TURNS + ASK))
    assert without.refused == "the base's chat template does not write tool calls"


def test_rows_that_a_template_refuses_are_left_out_with_the_reason() -> None:
    refuses = "{% if messages[0].role == 'system' %}{{ raise_exception('No system') }}{% endif %}"
    tokenizer: Any = make_tokenizer(refuses + TURNS + ASK)
    rows = ReadRows([KINDS["system"], KINDS["one turn"], KINDS["two turns"]])
    examples, report = encode_part(rows, TokenizerPool(tokenizer), 100)
    assert len(examples) == report.examples == 2
    (left_out,) = report.left_out
    assert left_out.text() == "the base's chat template refuses the conversation: No system (row)"
    assert report.unanswered == 0
    tokens = tokenise_rows(rows.found, tokenizer, 100)
    twice = build([pack(tokens), pack(tokens)])
    assert ([n for n, _ in twice.refused], twice.rows.tolist()) == ([0, 3], [1, 2, 4, 5])
