"""Writes feedback as training data for other tools, and for `tui-trainer train`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.teaching.feedback import RatedExample
from tui_trainer.store import atomic
from tui_trainer.text import formats

Format = Literal["jsonl", "dpo", "kto"]
FORMATS: tuple[Format, ...] = get_args(Format)

_DROPPED = "dropped"
_NO_RIGHT_ANSWER = "without a right answer"
_NO_WRONG_ANSWER = "without a wrong answer beside the right one"


class ExportResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    file: str  # its full path
    format: Format
    rows: int  # written
    examples: int  # that the rows come from
    left_out: dict[str, int]  # examples without a row, by reason

    def text(self) -> str:
        """The result as a sentence."""
        rows = formats.plural(self.rows, "row")
        left_out = "".join(f", {count} left out ({why})" for why, count in self.left_out.items())
        return (
            f"{rows} of {formats.plural(self.examples, 'rated answer')} written to "
            f"{self.file}{left_out}"
        )


def export_feedback(
    examples: Sequence[RatedExample], file: Path, format: str = "jsonl"
) -> ExportResult:
    """Writes one JSON object a line into a new file.

    `jsonl`: the conversation with the right answer as `messages`, and its `weight`. `dpo`:
    `prompt`, `chosen` and `rejected`, for answers that were corrected. `kto`: `prompt`,
    `completion` and `label`, true for a right answer; a corrected answer gives two rows. The last
    two are in the conversational form of TRL. Raises `UserError` where there is nothing to write,
    for an unknown format and for a file that exists or cannot be written.
    """
    if format not in FORMATS:
        raise UserError(f"unknown format {format!r}; use one of: {', '.join(FORMATS)}")
    if file.exists():
        raise UserError(f"{file} already exists; choose another name or delete it first")
    rows: list[dict[str, Any]] = []
    left_out: Counter[str] = Counter()
    used = 0
    for example in examples:
        found = _rows(example, format)
        if isinstance(found, str):
            left_out[found] += 1
            continue
        rows += found
        used += 1
    if not rows:
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items())
        raise UserError(
            f"there is no feedback to write as {format}{f': {reasons}' if reasons else ''}; "
            "rate an answer with /good or correct one with /fix TEXT first"
        )
    try:
        atomic.write_bytes(file, b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror}", 1) from None
    return ExportResult(
        file=str(file.resolve()),
        format=format,
        rows=len(rows),
        examples=used,
        left_out=dict(left_out),
    )


def _rows(example: RatedExample, format: str) -> list[dict[str, Any]] | str:
    """An example's rows, or why it has none."""
    right, prompt = example.right_answer, [_message(t.role, t.content) for t in example.turns]
    if example.dropped:
        return _DROPPED
    if format == "jsonl":
        if right is None:
            return _NO_RIGHT_ANSWER
        return [{"messages": [*prompt, *_answer(right)], "weight": example.weight}]
    wrong = None if example.rating == "good" or example.answer == right else example.answer
    if format == "dpo":
        if right is None or wrong is None:
            return _NO_RIGHT_ANSWER if right is None else _NO_WRONG_ANSWER
        return [{"prompt": prompt, "chosen": _answer(right), "rejected": _answer(wrong)}]
    labelled = ((right, True), (wrong, False))
    return [
        {"prompt": prompt, "completion": _answer(text), "label": label}
        for text, label in labelled
        if text is not None
    ]


def _answer(text: str) -> list[dict[str, str]]:
    return [_message("assistant", text)]


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
