"""`python -m tests.tables.templates > docs/templates.md`: what is learned of seven kinds of
conversation with every chat template of the installed `trl`, or of the folder in
`TUI_TRAINER_TEMPLATES`."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tui_trainer.engine.data.rows import Message, Row, ToolCall
from tui_trainer.engine.data.tokens.encoding import tokenise_rows

_SPECIAL = re.compile(
    r"<[|｜][^<>{}'\"\s]*[|｜]>|<(?:start|end)_of_turn>|\[/?INST\]|<[a-z_]*\|>|<\|[a-z_]+>"
    r"|\[gMASK\]|<sop>|<end_of_utterance>"
)
_CALL = ToolCall("weather_of", '{"place": "Quay"}', "call_1")
_TOOLS = (
    '[{"type": "function", "function": {"name": "weather_of", "description": "The weather.", '
    '"parameters": {"type": "object", "properties": {"place": {"type": "string", '
    '"description": "Where."}}, "required": ["place"]}}}]'
)


def _user(text: str) -> Message:
    return Message("user", text)


def _answer(text: str, *calls: ToolCall) -> Message:
    return Message("assistant", text, tool_calls=calls)


_FRUIT = (_user("Name a fruit."), _answer("A plum."))
_BIRD = (_user("And a bird?"), _answer("A crow."))
KINDS = {
    "one turn": Row(_FRUIT, None, 1.0, "row"),
    "two turns": Row((*_FRUIT, *_BIRD), None, 1.0, "row"),
    "system": Row((Message("system", "Be brief."), *_FRUIT), None, 1.0, "row"),
    "two users in a row": Row((_user("Hello."), *_FRUIT), None, 1.0, "row"),
    "tool call": Row(
        (
            _user("What is the weather?"),
            _answer("", _CALL),
            Message("tool", "Rain.", name="weather_of", call_id="call_1"),
            _answer("It rains."),
        ),
        None,
        1.0,
        "row",
        tools=_TOOLS,
    ),
    "thoughts": Row(
        (
            _user("Name a fruit."),
            _answer("<think>\nSweet.\n</think>\n\nA plum."),
            _user("And a bird?"),
            _answer("<think>\nBlack.\n</think>\n\nA crow."),
        ),
        None,
        1.0,
        "row",
    ),
    "question at the end": Row((*_FRUIT, _user("Thanks.")), None, 1.0, "row"),
}


@dataclass(frozen=True)
class Learned:
    """What is learned of a conversation."""

    examples: list[list[str]]  # the learned parts of every example
    texts: list[str]  # the whole examples
    refused: str  # why the conversation is left out; empty: it is not
    without_tools: bool  # whether the template leaves out the definitions of tools


def template_files() -> list[Path]:
    """The chat templates to try; none where there is no `trl`."""
    folder = os.environ.get("TUI_TRAINER_TEMPLATES")
    if folder is None:
        spec = importlib.util.find_spec("trl")
        places = list(spec.submodule_search_locations or []) if spec is not None else []
        folder = f"{places[0]}/chat_templates" if places else None
    return sorted(Path(folder).glob("*.jinja")) if folder is not None else []


def make_tokenizer(template: str, *, adds_bos: bool = False) -> Any:
    """A tokenizer of bytes with the special tokens of a template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = sorted(set(_SPECIAL.findall(template)))
    tokenizer.add_special_tokens(["<bos>", "<eos>", "<pad>", *special])
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<bos> $A", special_tokens=[("<bos>", tokenizer.token_to_id("<bos>"))]
        )
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>"
    )
    made.chat_template = template
    return made


def learned_of(row: Row, tokenizer: Any, learn: Any = "answers") -> Learned:
    """Tokenise one row and return what is learned of it, as text."""
    tokens = tokenise_rows([row], tokenizer, 10_000, learn)
    examples = []
    for ids, learned in zip(tokens.ids, tokens.learned, strict=True):
        parts: list[list[int]] = []
        for before, (token, on) in zip((0, *learned), zip(ids, learned, strict=True), strict=False):
            if on and not before:
                parts.append([])
            if on:
                parts[-1].append(token)
        examples.append([tokenizer.decode(part) for part in parts])
    reason = tokens.refused[0][1] if tokens.refused else ""
    texts = [tokenizer.decode(ids) for ids in tokens.ids]
    return Learned(examples, texts, reason, bool(tokens.without_tools))


def _cell(found: Learned) -> str:
    if found.refused:
        return f"left out: {found.refused}".replace("|", "\\|")
    shown = "; ".join(
        " + ".join(f"`{part}`" for part in parts).replace("\n", "⏎") for parts in found.examples
    )
    return (shown + (" (definitions not written)" if found.without_tools else "")).replace(
        "|", "\\|"
    )


def main() -> None:
    files = template_files()
    try:
        version = f"trl {importlib.metadata.version('trl')}"
    except importlib.metadata.PackageNotFoundError:
        version = os.environ.get("TUI_TRAINER_TEMPLATES_VERSION", "a folder of chat templates")
    print("# What is learned with the chat templates of current bases\n")
    print(
        f"Made by `python -m tests.tables.templates > docs/templates.md` with {version}. Each cell "
        "has the learned parts of the conversation: ` + ` between parts of one example, `;` between"
        " examples. ⏎ is a line break. The tokenizers are small ones whose only end-of-text token "
        "is `<eos>`.\n"
    )
    for kind, row in KINDS.items():
        print(f"## {kind}\n\n| template | learned |\n| --- | --- |")
        for file in files:
            tokenizer = make_tokenizer(file.read_text(encoding="utf-8"))
            print(f"| {file.stem} | {_cell(learned_of(row, tokenizer))} |")
        print()


if __name__ == "__main__":
    main()
