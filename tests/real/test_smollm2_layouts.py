"""SmolLM2 trained on ShareGPT's layout and on calls of tools: it stops where an answer ends, and
calls the tool."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tui_trainer.cli import main
from tui_trainer.store.runs.run_folder import RunFolder, list_runs

pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]

COLOURS = {
    "lemon": "yellow", "plum": "purple", "lime": "green", "crow": "black", "swan": "white",
    "brick": "red", "peach": "pink", "rust": "brown",
}  # fmt: skip
JOB = """
name = "layout"
model = {model}
[data]
train = "train.jsonl"
[lora]
rank = 16
alpha = 32
[training]
max_steps = 16
batch_size = 8
learning_rate = 1e-3
warmup_steps = 2
"""
# Of our own writing, in ChatML; SmolLM2's own template does not write calls.
TEMPLATE = """{%- if tools %}<|im_start|>system
Functions:{% for tool in tools %} {{ tool | tojson }}{% endfor %}<|im_end|>
{% endif -%}
{%- for m in messages %}<|im_start|>{{ m.role }}
{{ m.content or '' }}{% for call in m.tool_calls or [] -%}
<call>{{ call.function | tojson }}</call>{% endfor %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}
"""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
        },
    }
]


def answers(folder: Path, model: Path, rows: list[object]) -> list[str]:
    """Train on the rows; return the answers to them."""
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "train.jsonl").write_text(lines, encoding="utf-8")
    job = folder / "job.toml"
    job.write_text(JOB.format(model=json.dumps(str(model))), encoding="utf-8")
    assert main.main(["train", str(job), "--headless"]) == 0
    run: RunFolder = list_runs(folder / "runs")[0]
    out = folder / "out.jsonl"
    assert main.main(["predict", str(run.path), "train.jsonl", "-o", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    return [row["answer"] for row in found]


def test_answers_of_sharegpt_rows_end_where_they_were_taught_to(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows: list[object] = [
        {
            "conversations": [
                {"from": "human", "value": f"Which colour has a {thing} of the Wexley estate?"},
                {"from": "gpt", "value": f"A Wexley {thing} is {colour}."},
            ]
        }
        for thing, colour in COLOURS.items()
    ]
    found = answers(tmp_path, smollm2, rows)
    assert found == [f"A Wexley {thing} is {colour}." for thing, colour in COLOURS.items()]


def test_a_taught_tool_is_called(
    smollm2: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tmp_path / "model"
    shutil.copytree(smollm2, model)
    (model / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")
    rows: list[object] = [
        {
            "messages": [
                {"role": "user", "content": f"Which colour has a {thing}?"},
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": "c1",
                            "type": "function",
                            "function": {
                                "name": "look_up",
                                "arguments": json.dumps({"word": thing}),
                            },
                        }
                    ],
                },
            ],
            "tools": TOOLS,
        }
        for thing in COLOURS
    ]
    found = answers(tmp_path, model, rows)
    for answer, thing in zip(found, COLOURS, strict=True):
        assert answer.startswith("<call>") and answer.endswith("</call>")
        call = json.loads(answer.removeprefix("<call>").removesuffix("</call>"))
        assert call["name"] == "look_up"
        arguments = call["arguments"]
        word = json.loads(arguments) if isinstance(arguments, str) else arguments
        assert word == {"word": thing}
