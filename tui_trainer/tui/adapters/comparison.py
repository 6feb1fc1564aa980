"""Two adapters side by side: measures, size of the changes, answers. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from textual.content import Content

from tui_trainer.contracts.chat.protocol import Comparison, LayerDifference
from tui_trainer.contracts.teaching.adapter import AdapterInfo
from tui_trainer.repl.adapter_facts import training_source
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, number
from tui_trainer.tui.common.markup import truncated, wrapped
from tui_trainer.tui.common.panel import stack

_WIDEST_LABEL = 28
_NUMBER = 7  # cells of a norm
_COSINE = 6
_GAP = 2
_LAYER = re.compile(r"^(?:.*\.)?layers\.(\d+)\.(?:.*\.)?([^.]+)$")


@dataclass(frozen=True)
class ComparisonResult:
    """The measures of `a` and `b`; `answers` are (question, a's answer, b's answer)."""

    a: AdapterInfo
    b: AdapterInfo
    comparison: Comparison
    answers: tuple[tuple[str, str, str], ...] = ()


def comparison_text(found: ComparisonResult, width: int) -> Content:
    """The whole comparison, `width` cells wide."""
    names = [layer_name(item.layer) for item in found.comparison.layers]
    label = min(_WIDEST_LABEL, max(len(name) for name in (*names, "recalled", "trained on"))) + _GAP
    half = max(_NUMBER + _GAP + 4, (width - label - _COSINE) // 2)
    lines = [*_heading(found, label, half), Content(""), *_changes(found, label, half)]
    if found.answers:
        lines += [Content(""), *_answers(found, width)]
    else:
        lines += [
            Content(""),
            Content.styled("no answers to compare: the chat has no questions yet", "$faint"),
        ]
    return stack(*lines)


def layer_name(layer: str) -> str:
    """A short name of a layer, such as `0 q_proj`; other names are unchanged."""
    match = _LAYER.match(layer)
    return f"{match[1]} {match[2]}" if match else layer


def _heading(found: ComparisonResult, label: int, half: int) -> list[Content]:
    rows = [
        ("", clean(found.a.name), clean(found.b.name)),
        ("recalled", formats.share(found.a.after.recalled), formats.share(found.b.after.recalled)),
        ("kept", formats.share(found.a.after.kept), formats.share(found.b.after.kept)),
        ("loss", number(found.a.train_loss), number(found.b.train_loss)),
        ("LoRA", _lora(found.a), _lora(found.b)),
        ("trained on", training_source(found.a), training_source(found.b)),
    ]
    lines = []
    for index, (name, a, b) in enumerate(rows):
        style = "bold $accent" if index == 0 else ""
        cells = [_cell(text, half, style) for text in (a, b)]
        lines.append(Content.assemble(_cell(name, label, "$faint"), *cells))
    return lines


def _changes(found: ComparisonResult, label: int, half: int) -> list[Content]:
    """Bars for each layer on one scale, and the cosine between the two changes."""
    layers, whole = found.comparison.layers, found.comparison.whole
    most = max((max(item.a, item.b) for item in layers), default=0.0)
    rows = [(layer_name(item.layer), item, most) for item in layers]
    rows.append(("all", whole, max(whole.a, whole.b)))
    title = Content.assemble(
        ("changes by layer", "bold"), ("  Frobenius norm of each, cosine of both", "$faint")
    )
    return [title, *(_layer_row(item, name, label, half, top) for name, item, top in rows)]


def _layer_row(item: LayerDifference, name: str, label: int, half: int, top: float) -> Content:
    size = half - _NUMBER - _GAP
    parts = [_cell(clean(name), label, "$faint")]
    for value, style in ((item.a, "$accent"), (item.b, "$warning")):
        filled = max(1, round(size * value / top)) if value > 0 and top > 0 else 0
        parts.append(_cell("━" * filled, size, style))
        parts.append(Content(f"{number(value, 3):>{_NUMBER}}{' ' * _GAP}"))
    cosine = formats.MISSING if item.cosine is None else f"{round(item.cosine, 2) + 0.0:+.2f}"
    return Content.assemble(*parts, f"{cosine:>{_COSINE}}")


def _answers(found: ComparisonResult, width: int) -> list[Content]:
    half = max(8, (width - 2 * _GAP) // 2)
    lines = [Content.styled("answers", "bold")]
    for question, a, b in found.answers:
        lines.append(truncated(Content.styled(f"› {clean(question)}", "bold"), width))
        left, right = _wrapped(a, half), _wrapped(b, half)
        style = "" if a.strip() == b.strip() else "$accent"
        for index in range(max(len(left), len(right))):
            cells = [
                _cell(lines_of[index] if index < len(lines_of) else "", half, style)
                for lines_of in (left, right)
            ]
            lines.append(Content.assemble(" " * _GAP, *cells))
    return lines


def _wrapped(text: str, width: int) -> Sequence[str]:
    found = [
        line.plain for part in text.split("\n") for line in wrapped(Content(clean(part)), width - 2)
    ]
    return found or ["(empty answer)"]


def _cell(text: str, width: int, style: str = "") -> Content:
    return Content.styled(text, style).truncate(width, ellipsis=True, pad=True)


def _lora(info: AdapterInfo) -> str:
    return f"rank {info.lora.rank}, alpha {formats.short_number(info.lora.alpha)}"
