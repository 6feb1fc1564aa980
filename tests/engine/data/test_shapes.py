"""Rows of the layouts that public data sets have become the same conversations."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tables import layouts
from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import known_fields, row_formats
from tui_trainer.engine.data.rows import Message, Row, ToolCall

WriteRows = Callable[..., Path]
TURNS = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"word": "x"}'}}
CALLED = ToolCall("find", '{"word":"x"}', "c1")
DEFINITION = {"name": "find", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "function", "function": DEFINITION}]

ONE_ANSWER: list[tuple[str, dict[str, Any]]] = [
    ("messages", {"messages": TURNS}),
    ("messages", {"messages": json.dumps(TURNS)}),
    ("messages", {"messages": [*TURNS[:1], {"role": "assistant", "content": [{"text": "a"}]}]}),
    ("conversations", {"conversations": [{"from": "human", "value": "q"},
                                         {"from": "gpt", "value": "a"}]}),
    ("conversations", {"id": 1, "conversations": TURNS}),
    ("conversations", {"conversations": ["q", "a"]}),
    ("conversation", {"conversation": [{"from": "USER", "value": "q"},
                                       {"from": "ChatGPT", "value": "a"}]}),
    ("instruction/output", {"instruction": "q", "input": "", "output": "a"}),
    ("instruction/response", {"instruction": "q", "context": "", "response": "a", "category": "x"}),
    ("prompt/response", {"prompt": "q", "response": "a"}),
    ("prompt/answer", {"prompt": "q", "answer": "a"}),
    ("question/response", {"question": "q", "response": "a"}),
    ("query/answer", {"query": "q", "answer": "a"}),
    ("input/output", {"input": "q", "output": "a"}),
    ("problem/solution", {"problem": "q", "solution": "a", "answer": "3"}),
    ("user/assistant", {"user": "q", "assistant": "a"}),
    ("message_1/message_2", {"message_1": "q", "message_2": "a", "role_1": "x"}),
    ("inputs/targets", {"inputs": "q", "targets": "a"}),
    ("prompt/completion", {"prompt": TURNS[:1], "completion": TURNS[1:]}),
    ("prompt/completion", {"prompt": TURNS[:1], "completion": "a", "label": True}),
    ("chosen/rejected", {"prompt": "q", "chosen": "a", "rejected": "b"}),
    ("chosen/rejected", {"question": "q", "chosen": "a", "rejected": "b"}),
    ("chosen/rejected", {"chosen": TURNS, "rejected": TURNS[:1]}),
    ("chosen/rejected", {"prompt": "q", "chosen": TURNS, "rejected": TURNS}),
    ("chosen/rejected", {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": TURNS[1:]}),
    ("chosen/rejected", {"chosen": "\n\nHuman: q\n\nAssistant: a",
                         "rejected": "\n\nHuman: q\n\nAssistant: b"}),
    ("conversations", {"conversations": [{"from": "human", "value": "q"}],
                       "chosen": {"from": "gpt", "value": "a"},
                       "rejected": {"from": "gpt", "value": "b"}}),
]  # fmt: skip


def only(write_rows: WriteRows, row: dict[str, Any]) -> Row:
    (found,) = row_formats.read_rows([write_rows("t.jsonl", [row])]).found
    return found


@pytest.mark.parametrize(("shape", "row"), ONE_ANSWER, ids=str)
def test_a_question_with_its_answer(shape: str, row: dict[str, Any], write_rows: WriteRows) -> None:
    rows = row_formats.read_rows([write_rows("t.jsonl", [row])])
    turns = [(turn.role, turn.content) for turn in rows.found[0].messages]
    assert turns == [("user", "q"), ("assistant", "a")] and rows.found[0].messages[1].learned
    assert rows.shapes == {shape: 1} and not rows.left_out
    if "rejected" in row:
        assert {item.field for item in rows.unused} == {"rejected"}, "the worse answer is named"


@pytest.mark.parametrize("name", list(layouts.LAYOUTS))
def test_every_kind_of_file_gives_the_same_row(name: str) -> None:
    row = layouts.LAYOUTS[name]
    cells = {layouts.cell(layouts.read(file, write(row))) for file, write in layouts.FILES.items()}
    assert len(cells) == 1


def test_numbers_and_truth_values_are_written_out(write_rows: WriteRows) -> None:
    answers = [4, 4.5, True, "4"]
    rows = [{"question": "q", "answer": answer} for answer in answers]
    found = row_formats.read_rows([write_rows("t.jsonl", rows)]).found
    assert [row.messages[1].content for row in found] == ["4", "4.5", "true", "4"]


def test_what_a_question_is_about_follows_it_once(write_rows: WriteRows) -> None:
    dolly = {"instruction": "Who?", "context": "Ada wrote it.", "response": "Ada"}
    assert only(write_rows, dolly).messages[0].content == "Who?\n\nAda wrote it."
    inside = {"prompt": "Read: Ada wrote it. Who?", "context": "Ada wrote it.", "response": "Ada"}
    assert only(write_rows, inside).messages[0].content == "Read: Ada wrote it. Who?"


def test_a_finished_text_is_used_beside_half_a_pair(write_rows: WriteRows) -> None:
    rows = row_formats.read_rows([write_rows("t.jsonl", [{"text": "q a", "output": "a"}])])
    assert rows.found[0].text == "q a" and rows.shapes == {"text": 1}
    assert [item.field for item in rows.unused] == ["output"]


def test_only_the_preferred_answer_of_a_dialogue_is_learned(write_rows: WriteRows) -> None:
    said = "\n\nHuman: q\n\nAssistant: first\n\nHuman: more\n\nAssistant: last"
    turns = only(write_rows, {"chosen": said, "rejected": said}).messages
    assert [(turn.content, turn.learned) for turn in turns if turn.role == "assistant"] == [
        ("first", False),
        ("last", True),
    ]


def test_of_a_preferred_conversation_only_the_last_answer_is_learned(
    write_rows: WriteRows,
) -> None:
    turns = [*TURNS, {"role": "user", "content": "more"}, {"role": "assistant", "content": "best"}]
    system = {"role": "system", "content": "Be brief."}
    row = {"prompt": [system, *TURNS[:1]], "chosen": turns, "rejected": TURNS}
    found = only(write_rows, row).messages
    assert [turn.content for turn in found] == ["Be brief.", "q", "a", "more", "best"]
    assert [turn.learned for turn in found if turn.role == "assistant"] == [False, True]
    other = {"prompt": "another question", "chosen": turns, "rejected": TURNS}
    with pytest.raises(UserError, match="does not have the row's question"):
        only(write_rows, other)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"message_id": "1", "parent_id": None, "text": "q", "role": "prompter"},
         known_fields.ONE_TURN),
        ({"text": "a picture", "image": "a.png"}, known_fields.MEDIA),
        ({"system": "s", "chat": "USER: q ASSISTANT: a"}, known_fields.CHAT_TEXT),
        ({"question": "q", "answer": float("nan")}, known_fields.EMPTY),
    ],
)  # fmt: skip
def test_what_cannot_be_taught_rightly_is_named(
    row: dict[str, Any], reason: str, write_rows: WriteRows
) -> None:
    good = {"question": "q", "answer": "a"}
    rows = row_formats.read_rows([write_rows("t.jsonl", [good, row])])
    assert [(item.reason, item.rows) for item in rows.left_out] == [(reason, 1)]
    assert sum(rows.shapes.values()) == 1


def test_shapes_are_of_the_rows_that_are_kept(write_rows: WriteRows) -> None:
    marked = [{"prompt": "q", "completion": "a", "label": label} for label in (1, 0)]
    assert row_formats.read_rows([write_rows("t.jsonl", marked)]).shapes == {"prompt/completion": 1}


def test_calls_of_tools_as_openai_writes_them(write_rows: WriteRows) -> None:
    row = {
        "messages": [
            TURNS[0],
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "c1", "name": "find", "content": "found"},
            TURNS[1],
        ],
        "tools": TOOLS,
    }
    found = only(write_rows, row)
    assert found.messages[1:3] == (
        Message("assistant", "", True, (CALLED,)),
        Message("tool", "found", False, (), "find", "c1"),
    )
    assert json.loads(found.tools) == TOOLS


def test_calls_of_tools_as_older_and_other_data_writes_them(write_rows: WriteRows) -> None:
    bare = {"name": "find", "arguments": {"word": "x"}}
    openai = {
        "messages": [
            TURNS[0],
            {"role": "assistant", "content": None, "function_call": CALL["function"]},
            {"role": "function", "name": "find", "content": "found"},
            TURNS[1],
        ],
        "functions": [DEFINITION],
    }
    sharegpt = {
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function_call", "value": json.dumps(bare)},
            {"from": "observation", "value": "found"},
            {"from": "gpt", "value": "a"},
        ],
        "tools": json.dumps([DEFINITION]),
    }
    for row in (openai, sharegpt):
        found = only(write_rows, row)
        assert [turn.role for turn in found.messages] == ["user", "assistant", "tool", "assistant"]
        assert found.messages[1].tool_calls == (ToolCall("find", '{"word":"x"}'),)
        assert json.loads(found.tools) == TOOLS


def test_rows_that_differ_in_a_call_only_are_not_equal(write_rows: WriteRows) -> None:
    other = {**CALL, "function": {"name": "find", "arguments": '{"word": "y"}'}}
    rows = [
        {"messages": [TURNS[0], {"role": "assistant", "tool_calls": [call]}]}
        for call in (CALL, other)
    ]
    one, two = row_formats.read_rows([write_rows("t.jsonl", rows)]).found
    assert one.content() != two.content()


def test_columns_of_other_names_are_mapped(write_rows: WriteRows) -> None:
    rows = [{"sentence": f"s {i}", "intent": "ab"[i % 2], "text": "other"} for i in range(6)]
    file = write_rows("t.jsonl", rows)
    mapping = {"text": "sentence", "label": "intent"}
    found = row_formats.read_rows([file], labelled=True, columns=mapping, columns_needed=True)
    assert [(row.text, row.label) for row in found.found[:2]] == [("s 0", "a"), ("s 1", "b")]
    assert found.columns == ["text (not mapped)"]
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([file], columns={"text": "sentense"}, columns_needed=True)
    assert str(caught.value) == (
        "t.jsonl: data.columns reads text from 'sentense', which no row has; did you mean "
        "'sentence'? (fields: sentence, intent, text)"
    )


@pytest.mark.parametrize(
    ("row", "labelled", "line"),
    [
        ({"sentence": "some words", "intent": "x"}, True,
         'data.columns = { text = "sentence", label = "intent" }'),
        ({"frage": "what is it?", "reply text": "that one"}, False,
         'data.columns = { question = "frage", answer = "reply text" }'),
        ({"body": "words", "number": 3}, False, 'data.columns = { text = "body" }'),
        ({"id": "a long name of a row", "body": "x"}, False, 'data.columns = { text = "body" }'),
        ({"id": "1", "data": ["q", "a"]}, False, 'data.columns = { conversations = "data" }'),
    ],
)  # fmt: skip
def test_the_error_proposes_the_line(
    row: dict[str, Any], labelled: bool, line: str, write_rows: WriteRows
) -> None:
    rows = [{**row, "intent": "xy"[i % 2]} if "intent" in row else row for i in range(6)]
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([write_rows("t.jsonl", rows)], labelled=labelled)
    assert str(caught.value).startswith("t.jsonl: fields not recognised (")
    assert str(caught.value).endswith(line)


NAMES = st.sampled_from([*sorted(known_fields.KNOWN), "role", "content", "from", "value", "id"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["user", "assistant", "human", "gpt", "tool", "[]", "Human: "]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.dictionaries(NAMES, VALUES, max_size=4), max_size=5), labelled=st.booleans()
)
def test_any_row_is_found_or_left_out(
    rows: list[dict[str, Any]], labelled: bool, write_rows: WriteRows
) -> None:
    good = {"question": "q", "answer": "a", "text": "t", "label": "c"}
    file = write_rows("t.jsonl", [*rows, good])
    found = row_formats.read_rows([file], labelled=labelled)
    assert found.total == len(rows) + 1
    assert sum(found.shapes.values()) == len(found.found)
