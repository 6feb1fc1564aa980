"""Rows that cannot be used for training, such as wrong answers, are left out, and unused fields are
named, both with counts and locations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data import dataset, known_fields, row_formats
from tui_trainer.engine.data.example import Example
from tui_trainer.engine.data.rows import Message, ReadRows
from tui_trainer.models.base_model import load_tokenizer
from tui_trainer.store import jobs

WriteRows = Callable[..., Path]
GOOD = {"prompt": "q", "completion": "a good one"}
TALK = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
CALL = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
SHAPES: list[dict[str, Any]] = [
    {"messages": TALK},
    {"instruction": "q", "output": "a"},
    {"prompt": "q", "completion": "a"},
    {"question": "q", "answer": "a"},
    {"query": "q", "response": "a"},
]


@pytest.fixture(scope="session")
def tokenizer(tiny_base: Path) -> Any:
    return load_tokenizer(str(tiny_base))


def talk(**last: Any) -> dict[str, Any]:
    """A conversation whose answer has these fields too."""
    return {"messages": [TALK[0], {**TALK[1], **last}]}


def left_out(found: ReadRows) -> dict[str, int]:
    return {item.reason: item.rows for item in found.left_out}


def unused(found: ReadRows) -> dict[str, int]:
    return {item.field: item.rows for item in found.unused}


CASES: list[tuple[dict[str, Any], str]] = [
    *(({**shape, "label": False}, "marked as a wrong answer by 'label'") for shape in SHAPES),
    *(
        ({**GOOD, "label": value}, "marked as a wrong answer by 'label'")
        for value in (0, 0.0, -1, "false", " False ", "0", "-1", "0.0", "bad", "Wrong", "rejected")
    ),
    *(
        ({**GOOD, name: False}, f"marked as a wrong answer by '{name}'")
        for name in ("kto_tag", "desirable", "is_correct", "correct")
    ),
    ({"text": "a text", "label": False}, "marked as a wrong answer by 'label'"),
    (talk(label=False), "marked as a wrong answer by 'label'"),
    (talk(desirable=0), "marked as a wrong answer by 'desirable'"),
    (talk(weight=0), known_fields.NOT_LEARNED),
    (talk(train=False), known_fields.NOT_LEARNED),
    ({**GOOD, "weight": 0}, known_fields.NO_WEIGHT),
    (talk(content=None, tool_calls=[{"id": "1", "function": {}}]), known_fields.BAD_CALL),
    (talk(content=None, function_call={"arguments": "{}"}), known_fields.BAD_CALL),
    (talk(tool_calls=[{"name": "f", "arguments": "no object"}]), known_fields.BAD_CALL),
    ({"messages": TALK, "tools": [{"type": "function"}]}, known_fields.BAD_TOOLS),
    ({**GOOD, "tools": "search"}, known_fields.BAD_TOOLS),
    ({"messages": TALK, "tool_calls": CALL}, known_fields.CALLS_BESIDE),
    ({"messages": "q"}, known_fields.NOT_TURNS),
    ({"messages": ["q", "a"]}, known_fields.NOT_TURNS),
    ({"turns": ["first question", "second question"]}, known_fields.NOT_TURNS),
    ({"messages": [{"content": "q"}]}, known_fields.NOT_TURNS),
    ({"prompt": "q"}, "no answer field beside 'prompt'"),
    ({"output": "a"}, "no question field beside 'output'"),
    ({"prompt": "q", "completion": {"a": 1}}, "'completion' is not text"),
    ({"question": "q", "answer": ["a", "b"]}, known_fields.PARTS),
    ({"question": "q", "answers": {"text": ["a"]}, "context": "c"}, known_fields.NESTED),
    ({**GOOD, "weight": -1}, known_fields.BAD_WEIGHT),
    ({**GOOD, "weight": "heavy"}, known_fields.BAD_WEIGHT),
    ({**GOOD, "history": "earlier"}, known_fields.HISTORY_SHAPE),
    ({**GOOD, "history": [["one", "two", "three"]]}, known_fields.HISTORY_SHAPE),
    ({**GOOD, "history": [["asked", ""]]}, known_fields.EMPTY),
    ({"chosen": "a", "rejected": "b"}, known_fields.NO_QUESTION),
    ({"prompt": "q", "chosen": "a", "rejected": "b", "label": False},
     "marked as a wrong answer by 'label'"),
    ({"chosen": TALK[1:], "rejected": TALK}, known_fields.NO_QUESTION),
    ({"prompt": "q", "rejected": "b"}, known_fields.EMPTY),
    ({**GOOD, "images": ["a.png"]}, known_fields.MEDIA),
    (talk(audio={"id": "a1"}), known_fields.MEDIA),
    ({"text": "a text", "images": ["a.png"]}, known_fields.MEDIA),
    ({"messages": [{"role": "boss", "content": "q"}, TALK[1]]}, known_fields.ROLE),
    ({"messages": TALK[:1]}, known_fields.NO_ANSWER),
    (talk(content=[{"type": "image_url", "image_url": {"url": "x"}}]), known_fields.PARTS),
    ({"messages": TALK, "system": 3}, "'system' is not text"),
    ({**GOOD, "system": {"a": "b"}}, "'system' is not text"),
    (talk(content=None), known_fields.EMPTY),
]  # fmt: skip


@pytest.mark.parametrize(("row", "reason"), CASES, ids=lambda value: str(value)[:60])
def test_a_row_that_cannot_be_used_is_left_out(
    row: dict[str, Any], reason: str, write_rows: WriteRows
) -> None:
    found = row_formats.read_rows([write_rows("t.jsonl", [GOOD, row, GOOD])])
    assert len(found.found) == 2 and left_out(found) == {reason: 1} and found.total == 3
    assert found.left_out[0].where[0].startswith("t.jsonl line 2")
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([write_rows("none.jsonl", [row, row])])
    wanted = "all 2 rows are empty" if reason == known_fields.EMPTY else f"are left out: {reason}"
    assert wanted in str(caught.value)


KEPT: list[dict[str, Any]] = [
    *({**shape, "label": True} for shape in SHAPES),
    *({**GOOD, "label": value} for value in (1, "true", "good", "", None, "science", 7, [0])),
    *({**GOOD, name: 0} for name in ("rating", "score", "reward")),
    {**GOOD, "accepted": False},
    {"messages": TALK, "tools": [], "history": None, "images": [None], "tool_calls": "[]"},
    {"messages": TALK, "chosen": TALK, "rejected": TALK},
    talk(tool_calls=None, function_call={"name": None}, weight=1),
    {"text": "a text", "label": 0},
    {"text": "a text", "chosen": "x"},
    {"messages": [{"role": "tool", "content": "3"}, *TALK]},
    {"instruction": "q", "input": "[]", "output": "null"},
]


@pytest.mark.parametrize("row", KEPT, ids=str)
def test_nothing_else_is_left_out(row: dict[str, Any], write_rows: WriteRows) -> None:
    found = row_formats.read_rows([write_rows("t.jsonl", [row])])
    assert len(found.found) == 1 and not found.left_out


def test_numbers_are_marks_unless_the_column_has_other_numbers(write_rows: WriteRows) -> None:
    marked = write_rows("marks.jsonl", [{**GOOD, "label": i % 2} for i in range(6)])
    found = row_formats.read_rows([marked])
    assert len(found.found) == 3 and not found.unused
    assert found.left_out[0].where == [f"marks.jsonl line {i}" for i in (1, 3, 5)]
    classes = write_rows("classes.jsonl", [{**GOOD, "label": i % 3} for i in range(6)])
    found = row_formats.read_rows([classes])
    assert len(found.found) == 6 and unused(found) == {"label": 6}
    both = row_formats.read_rows([marked, classes])  # each file by itself
    assert len(both.found) == 9 and unused(both) == {"label": 6}
    mixed = write_rows("mixed.jsonl", [{**GOOD, "label": value} for value in (2, False, "false")])
    assert len(row_formats.read_rows([mixed]).found) == 1, "false is no class of an answer"


def test_marks_in_a_table_equal_those_in_json_lines(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "prompt,completion,label,history,weight,tools\n"
        "q,a,True,[],1,[]\nq,b,False,,1,\nq,c,true,,0,\nq,d,true,,,[1]\n"
    )
    found = row_formats.read_rows([tmp_path / "t.csv"])
    assert [row.messages[1].content for row in found.found] == ["a"]
    assert left_out(found) == {
        "marked as a wrong answer by 'label'": 1,
        known_fields.NO_WEIGHT: 1,
        known_fields.BAD_TOOLS: 1,
    }
    assert not found.unused and not found.columns


def test_cells_beyond_the_header_of_a_table_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("question,answer\nq,a\nq,a,more\n")
    found = row_formats.read_rows([tmp_path / "t.csv"])
    assert len(found.found) == 2 and found.columns == ["cells beyond the header"]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: next(iter(shape)))
def test_a_system_field_becomes_the_system_turn(
    shape: dict[str, Any], write_rows: WriteRows
) -> None:
    for value in ("Be brief.", [{"text": "Be "}, {"type": "text", "text": "brief."}]):
        for name in ("system", "system_prompt"):
            found = row_formats.read_rows([write_rows("t.jsonl", [{**shape, name: value}])])
            turns = found.found[0].messages
            assert turns[0] == Message("system", "Be brief.") and len(turns) == 3
            assert not found.unused


def test_a_system_turn_is_used_instead_of_a_system_field(write_rows: WriteRows) -> None:
    own = [{"role": "developer", "content": "Be kind."}, *TALK]
    values = [{"messages": own, "system": text} for text in ("Be brief.", "Be kind.")]
    found = row_formats.read_rows([write_rows("t.jsonl", values)])
    for row in found.found:
        assert [turn.role for turn in row.messages] == ["system", "user", "assistant"]
        assert row.messages[0].content == "Be kind."
    assert unused(found) == {"system": 1}, "the same text is used"


def test_history_becomes_earlier_turns_that_are_learned_too(write_rows: WriteRows) -> None:
    row = {
        "instruction": "q",
        "input": "more",
        "output": "a",
        "system": "s",
        "history": [["q1", "a1"], ["q2", "a2"]],
    }
    (found,) = row_formats.read_rows([write_rows("t.jsonl", [row])]).found
    assert [(turn.role, turn.content) for turn in found.messages] == [
        ("system", "s"),
        *[("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")],
        *[("user", "q\n\nmore"), ("assistant", "a")],
    ]
    assert all(turn.learned for turn in found.messages)


def test_turns_with_weight_0_are_context(write_rows: WriteRows, tokenizer: Any) -> None:
    turns = [
        *[TALK[0], {"role": "assistant", "content": "wrong", "weight": 0}],
        *[TALK[0], {"role": "assistant", "content": "loud", "train": False}],
        *[TALK[0], {"role": "assistant", "content": "right", "weight": 1, "train": True}],
        *[TALK[0], {"role": "assistant", "content": "so so", "weight": 0.5}],
    ]
    file = write_rows("t.jsonl", [{"messages": turns}])
    found = row_formats.read_rows([file])
    answers = [turn.learned for turn in found.found[0].messages if turn.role == "assistant"]
    assert answers == [False, False, True, True]
    assert unused(found) == {"messages.weight": 1}, "a half weight is not counted half"
    assert learned(examples(tokenizer, file).train, tokenizer) == "right<|end|>so so<|end|>"


def test_fields_that_are_not_used_are_counted_and_other_columns_named(
    write_rows: WriteRows,
) -> None:
    values: list[dict[str, Any]] = [
        {"prompt": "q", "completion": "a", "input": "more", "id": 1, "source": "x\x1b"},
        {"prompt": "q", "completion": "a", "input": "", "id": 2, "note": None},
        {"question": "q", "answer": "a", "context": "it rains", "prompt": None},
        {"text": "t", "system": "s", "label": "class", "output": "a", "history": [["a", "b"]]},
        {**talk(reasoning_content="hm", name="x"), "prompt": "q", "text": "t"},
    ]
    values[3].pop("output")
    found = row_formats.read_rows([write_rows("t.jsonl", values)])
    assert len(found.found) == 5 and not found.left_out
    assert [turn.content for turn in found.found[0].messages] == ["q\n\nmore", "a"]
    assert [turn.content for turn in found.found[2].messages] == ["q\n\nit rains", "a"]
    assert unused(found) == {
        "history": 1,
        "label": 1,
        "messages.reasoning_content": 1,
        "prompt": 1,
        "system": 1,
        "text": 1,
    }
    assert next(item for item in found.unused if item.field == "text").where == ["t.jsonl line 5"]
    assert found.columns == ["id", "source", "messages.name"]


def test_names_of_columns_are_limited_and_printable(write_rows: WriteRows, tokenizer: Any) -> None:
    values = [{**GOOD, f"bell\x07{i:02}": 1, "x" * 100: 2} for i in range(70)]
    part = examples(tokenizer, write_rows("t.jsonl", values)).report.train
    assert len(part.columns) == 50 and part.more_columns == 21
    assert part.columns_text().isprintable() and part.columns_text().endswith(" and 21 more")
    assert max(map(len, part.columns)) == 40
    assert part.columns_text(2).endswith(" and 69 more")


def test_classes_are_not_treated_as_marks(write_rows: WriteRows) -> None:
    values = [{"text": f"t{i}", "label": i % 2 == 0, "id": i} for i in range(4)]
    values.append({"text": "t", "label": True, "weight": 0})
    found = row_formats.read_rows([write_rows("t.jsonl", values)], labelled=True)
    assert [row.label for row in found.found] == ["True", "False", "True", "False"]
    assert left_out(found) == {known_fields.NO_WEIGHT: 1} and found.columns == ["id"]


def test_all_reasons_are_reported_where_no_row_remains(write_rows: WriteRows) -> None:
    values = [{**GOOD, "label": False}] * 4 + [
        {"messages": TALK, "tool_calls": CALL},
        {"text": " "},
    ]
    with pytest.raises(UserError) as caught:
        row_formats.read_rows([write_rows("t.jsonl", values)])
    assert str(caught.value) == (
        "t.jsonl: all 6 rows are left out: 4 × marked as a wrong answer by 'label' (t.jsonl line "
        f"1, t.jsonl line 2, t.jsonl line 3, …); 1 × {known_fields.CALLS_BESIDE} (t.jsonl line 5); "
        "1 × empty (t.jsonl line 6); at least one other row is needed"
    )


def examples(tokenizer: Any, file: Path, **more: Any) -> dataset.Dataset:
    values = {"data": {"train": str(file), **more}}
    return dataset.load_dataset(jobs.check_job(values, file.parent, "test"), tokenizer)


def learned(found: Sequence[Example], tokenizer: Any) -> str:
    ids = [i for e in found for i, on in zip(e.input_ids, e.learned, strict=True) if on]
    return str(tokenizer.decode(ids))


WORDS = st.text("abc", min_size=1, max_size=5)
BAD = st.sampled_from(
    [{name: value} for name in known_fields.MARKS for value in (False, "false", 0, -1, "bad")]
)


@st.composite
def bad_row(draw: st.DrawFn) -> dict[str, Any]:
    """A row of any format with an answer of w's that is marked as wrong."""
    wrong = "w" * draw(st.integers(2, 9))
    shape = draw(st.sampled_from([*SHAPES, {"text": "t"}]))
    if "messages" in shape:
        turn = {"role": "assistant", "content": wrong}
        mark: dict[str, Any] = draw(
            st.one_of(BAD, st.sampled_from([{"weight": 0}, {"train": False}]))
        )
        after = [TALK[0], {**TALK[1], "content": draw(WORDS)}] * draw(st.integers(0, 1))
        inside = draw(st.booleans()) or "weight" in mark or "train" in mark
        turns = [TALK[0], {**turn, **(mark if inside else {})}, *after]
        return {"messages": turns, **({} if inside else mark)}
    if "text" in shape:
        return {"text": wrong, "label": draw(st.sampled_from([False, "false", "False"]))}
    question, answer = map(str, shape)
    return {question: draw(WORDS), answer: wrong, **draw(BAD)}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bad=st.lists(bad_row(), min_size=1, max_size=6), good=st.lists(WORDS, min_size=1))
def test_an_answer_that_is_marked_as_wrong_is_never_learned(
    bad: list[dict[str, Any]], good: list[str], write_rows: WriteRows, tokenizer: Any
) -> None:
    right = [{"question": "q", "answer": answer, "label": True} for answer in good]
    file = write_rows("t.jsonl", [*bad, *right])
    found = examples(tokenizer, file, cache=False)
    text = learned(found.train, tokenizer)
    assert "w" not in text and all(answer in text for answer in good)
    part = found.report.train
    assert part.rows == len(bad) + len(good)
    assert sum(item.rows for item in part.left_out) + part.examples == part.rows


def test_validation_rows_of_unknown_classes_are_counted_as_left_out(
    write_rows: WriteRows, tokenizer: Any
) -> None:
    train = write_rows("t.jsonl", [{"text": f"t{i}", "label": "ab"[i % 2]} for i in range(4)])
    held = write_rows("v.jsonl", [{"text": f"v{i}", "label": "c"} for i in range(3)])
    values = {
        "task": "classification",
        "data": {"train": str(train), "validation": str(held)},
    }
    found = dataset.load_dataset(jobs.check_job(values, held.parent, "test"), tokenizer)
    assert (found.report.validation.rows, found.report.validation.unanswered) == (3, 3)
    assert "3 validation rows left out: label not in any training row" in found.notices
