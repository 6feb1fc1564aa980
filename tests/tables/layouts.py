"""`python -m tests.tables.layouts > docs/layouts.md`: what is taught of rows in the layouts that
data sets have, in every kind of file."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tui_trainer.contracts.errors import UserError
from tui_trainer.engine.data.row_formats import read_rows
from tui_trainer.engine.data.rows import ReadRows, Row

_ASKED = {"role": "user", "content": "Name a fruit."}
_ANSWERED = {"role": "assistant", "content": "A plum."}
_CALL = {"type": "function", "function": {"name": "look_up", "arguments": '{"word": "plum"}'}}
_TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
_PAIR = {"prompt": "Name a fruit.", "completion": "A plum."}

# A name for each layout, and a row in it.
LAYOUTS: dict[str, dict[str, Any]] = {
    "messages": {"messages": [_ASKED, _ANSWERED]},
    "ShareGPT": {
        "conversations": [
            {"from": "human", "value": "Name a fruit."},
            {"from": "gpt", "value": "A plum."},
        ]
    },
    "texts in turn (LIMA)": {"conversations": ["Name a fruit.", "A plum."]},
    "OpenAI, tool call": {
        "messages": [
            _ASKED,
            {"role": "assistant", "content": None, "tool_calls": [_CALL]},
            {"role": "tool", "content": "a fruit"},
            _ANSWERED,
        ],
        "tools": _TOOLS,
    },
    "OpenAI, function_call": {
        "messages": [
            _ASKED,
            {"role": "assistant", "content": None, "function_call": _CALL["function"]},
            {"role": "function", "name": "look_up", "content": "a fruit"},
            _ANSWERED,
        ],
        "functions": [_TOOLS[0]["function"]],
    },
    "content in parts": {
        "messages": [_ASKED, {**_ANSWERED, "content": [{"type": "text", "text": "A plum."}]}]
    },
    "Alpaca": {"instruction": "Name one.", "input": "Fruit.", "output": "A plum."},
    "Dolly": {"instruction": "Name one.", "context": "Fruit.", "response": "A plum."},
    "prompt/completion": _PAIR,
    "prompt/completion of turns (TRL)": {"prompt": [_ASKED], "completion": [_ANSWERED]},
    "prompt/response": {"prompt": "Name a fruit.", "response": "A plum."},
    "question/answer, a number": {"question": "How many?", "answer": 4},
    "system and history": {
        **_PAIR,
        "system": "Be brief.",
        "history": [["Name a bird.", "A crow."]],
    },
    "text beside other columns": {"text": "A plum is a fruit.", "answer": "A plum."},
    "preference pair": {"prompt": "Name a fruit.", "chosen": "A plum.", "rejected": "No."},
    "preference pair of turns": {
        "chosen": [_ASKED, _ANSWERED],
        "rejected": [_ASKED, {**_ANSWERED, "content": "No."}],
    },
    "preference pair, HH-RLHF": {
        "chosen": "\n\nHuman: Name a fruit.\n\nAssistant: A plum.",
        "rejected": "\n\nHuman: Name a fruit.\n\nAssistant: No.",
    },
    "KTO, a wrong answer": {**_PAIR, "label": False},
    "an image": {**_PAIR, "image": "plum.png"},
    "SQuAD": {"question": "Which?", "context": "A plum.", "answers": {"text": ["A plum."]}},
    "OpenAssistant": {"message_id": "1", "parent_id": "0", "role": "prompter", "text": "Hello."},
    "no answer": {"prompt": "Name a fruit."},
    "other names": {"frage": "Name a fruit.", "reply": "A plum."},
}


def _lines(row: Mapping[str, Any]) -> bytes:
    return (json.dumps(row) + "\n").encode()


def _table(row: Mapping[str, Any], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(row)
    writer.writerow(v if isinstance(v, str) else json.dumps(v) for v in row.values())
    return text.getvalue().encode()


def _zip(row: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("rows.jsonl", _lines(row))
    return stream.getvalue()


FILES: dict[str, Callable[[Mapping[str, Any]], bytes]] = {
    "rows.jsonl": _lines,
    "rows.json": lambda row: json.dumps([row]).encode(),
    "rows.csv": _table,
    "rows.tsv": lambda row: _table(row, "\t"),
    "rows.jsonl.gz": lambda row: gzip.compress(_lines(row), mtime=0),
    "rows.zip": _zip,
}


def read(name: str, content: bytes) -> ReadRows | str:
    """The rows of a file of this name and content, or the sentence that refuses it."""
    with tempfile.TemporaryDirectory(prefix="layouts-") as folder:
        file = Path(folder) / name
        file.write_bytes(content)
        try:
            return read_rows([file])
        except UserError as error:
            return str(error).replace(f"{folder}/", "")


def taught(row: Row) -> str:
    """What is read of a row, the learned parts in bold."""
    if row.text is not None:
        return f"**{row.text}**"
    parts = []
    for turn in row.messages:
        calls = " ".join(f"{call.name}({call.arguments})" for call in turn.tool_calls)
        said = f"{turn.content} {calls}".strip().replace("\n", " ⏎ ")
        shown = f"**{said}**" if turn.role == "assistant" and turn.learned else said
        parts.append(f"{turn.role}: {shown}")
    return " · ".join([*parts, *(["with definitions of tools"] if row.tools else [])])


def cell(found: ReadRows | str) -> str:
    """A cell of the table."""
    if isinstance(found, str):
        reason = re.fullmatch(
            r".*?: all 1 rows are left out: (.*) \(rows\..*?\); at least .*", found
        )
        return f"left out: {reason[1]}" if reason else f"refused: {found.partition(': ')[2]}"
    unused = [f"'{item.field}'" for item in found.unused] + found.columns
    rest = f" (not used: {', '.join(unused)})" if unused else ""
    return taught(found.found[0]) + rest


def main() -> None:
    print("# Layouts of training data\n")
    print(
        "Made by `python -m tests.tables.layouts > docs/layouts.md`. Each row is read alone, from "
        f"{', '.join(f'`{name}`' for name in FILES)}; the learned parts are bold. Where a kind of "
        "file is read otherwise than the first it has a line of its own.\n"
    )
    print("| layout | file | what is read |\n| --- | --- | --- |")
    for layout, row in LAYOUTS.items():
        groups: dict[str, list[str]] = {}
        for name, write in FILES.items():
            groups.setdefault(cell(read(name, write(row))), []).append(name)
        for text, names in groups.items():
            where = "all" if len(names) == len(FILES) else ", ".join(f"`{n}`" for n in names)
            print(f"| {layout} | {where} | {text.replace('|', chr(92) + '|')} |")


if __name__ == "__main__":
    main()
