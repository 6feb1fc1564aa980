"""A look at a job's data as names and values, for the command line and the screen. No I/O."""

from __future__ import annotations

from collections.abc import Iterator

from tui_trainer.contracts.data_inspection import DataInspection, InspectedRow, LengthBin, TextPiece
from tui_trainer.contracts.runs.data_report import PartReport
from tui_trainer.text import formats

Fact = tuple[str, str]
OMITTED = "[… {} not shown …]"


def facts(found: DataInspection) -> list[Fact]:
    """What the data are, as names and values."""
    train, report = found.report.train, found.report
    lines = [("task", found.task), ("tokenizer", found.model)]
    for name, part in _parts(found):
        lines.append((name, _part(part)))
        if part.shapes:
            lines.append(("shape", _shapes(part)))
    if report.labels:
        lines.append(("tokens", formats.count(train.tokens)))
    else:
        share = formats.share(train.learned / max(1, train.tokens))
        lines.append(
            (
                "tokens",
                f"{formats.count(train.tokens)}, of which {formats.count(train.learned)} "
                f"({share}) are learned",
            )
        )
    lines.append(("length", length_sentence(found)))
    if train.columns:
        lines.append(("not used", f"columns {train.columns_text()}"))
    return lines


def length_sentence(found: DataInspection) -> str:
    """Median and longest length, and how many rows exceed the limit."""
    limit = formats.count(found.max_length)
    text = f"median {formats.count(found.median)}, longest {formats.count(found.longest)} tokens"
    if not found.too_long:
        return f"{text}; none over data.max_length = {limit}"
    rows = formats.plural(found.too_long, "row")
    return f"{text}; {rows} over data.max_length = {limit}"


def notices(found: DataInspection) -> list[str]:
    """What is left out or changed and why, a sentence each."""
    lines = list(found.notices)
    if found.unanswered:
        rows = (f"{row.where} ({formats.plural(row.tokens, 'token')})" for row in found.unanswered)
        lines.append(f"without an answer within the limit: {', '.join(rows)}")
    return lines


def heading(row: InspectedRow) -> str:
    """Where a row comes from, why it is shown, and its counts."""
    parts = [formats.plural(row.tokens, "token")]
    if row.full_tokens > row.tokens:
        parts[0] += f" of {formats.count(row.full_tokens)}, cut"
    if row.label is None:
        parts.append(f"{formats.count(row.learned)} learned")
    parts.append(f"weight {formats.short_number(row.weight)}")
    return f"{row.where} ({row.chosen}, {row.part}): {', '.join(parts)}"


def range_of(one: LengthBin) -> str:
    """The lengths of a bin: `33–64`."""
    if one.first == one.last:
        return formats.count(one.first)
    return f"{formats.count(one.first)}–{formats.count(one.last)}"


def spans(row: InspectedRow, most: int | None = None) -> Iterator[TextPiece]:
    """The text in spans of the same kind; with `most`, the middle beyond so many tokens is left
    out. What is left out is named by a special piece."""
    pieces = list(row.pieces)
    if row.omitted:
        pieces.insert(row.omitted_at, _gap(row.omitted))
    if most is not None and len(pieces) > most:
        head = most * 3 // 4
        cut = pieces[head : len(pieces) - (most - head)]
        pieces[head : len(pieces) - (most - head)] = [_gap(sum(piece.tokens for piece in cut))]
    last: TextPiece | None = None
    for piece in pieces:
        if last is not None and (last.learned, last.special) == (piece.learned, piece.special):
            last = TextPiece(
                text=last.text + piece.text,
                tokens=last.tokens + piece.tokens,
                learned=last.learned,
                special=last.special,
            )
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def _gap(tokens: int) -> TextPiece:
    text = OMITTED.format(formats.plural(tokens, "token"))
    return TextPiece(text=text, tokens=tokens, special=True)


def _parts(found: DataInspection) -> list[tuple[str, PartReport]]:
    report = found.report
    named = (
        ("training", report.train),
        ("validation", report.validation),
        ("replay", report.replay),
        ("retain", report.retain),
        ("null space", report.null_space),
    )
    return [(name, part) for name, part in named if part.rows or part.examples]


def _part(part: PartReport) -> str:
    out = sum(item.rows for item in part.reasons()) + part.unanswered
    text = f"{formats.plural(part.examples, 'example')} from {formats.plural(part.rows, 'row')}"
    return f"{text}, {formats.count(out)} left out" if out else text


def _shapes(part: PartReport) -> str:
    if len(part.shapes) == 1:
        return next(iter(part.shapes))
    return ", ".join(f"{name}: {formats.count(rows)}" for name, rows in part.shapes.items())
