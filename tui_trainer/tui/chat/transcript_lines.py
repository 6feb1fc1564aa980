"""Entries of the conversation as lines of a given width. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.content import Content

from tui_trainer.contracts.chat import session as events
from tui_trainer.text.formats import clean
from tui_trainer.tui.chat.transcript import TranscriptEntry
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import beside, plain, truncated

_STYLES = {
    "note": ("· ", run_status.FAINT),
    "good": ("✔ ", run_status.GOOD),
    "caution": ("! ", run_status.CAUTION),
    "problem": ("✗ ", run_status.BAD),
}
_INDENT = "  "
_GAP = 2
_LEAST_COLUMN = 6
_READABLE = 16
_LEAST_FACT = 8


def entry_lines(entry: TranscriptEntry, width: int) -> list[Content]:
    """The lines of one entry; a question has its own background."""
    width = max(8, width)
    if entry.kind == "you":
        return _question(entry, width)
    if entry.kind == "answer":
        return _answer(entry, width)
    if entry.kind == "table" and entry.table is not None:
        return table_lines(entry.table, width)
    sign, style = _STYLES[entry.kind]
    return beside(Content.styled(sign, f"bold {style}"), _content(entry.text, style), width - 1)


def table_lines(table: events.TextTable, width: int) -> list[Content]:
    """A table in columns, the widest narrowed to fit; rows without headers as label and text."""
    title = Content.styled(f"{_INDENT}{clean(table.title)}", "bold")
    if not table.headers:
        return [title, *_facts(table.rows, width)]
    rows = [[_cell(text) for text in row] for row in (table.headers, *table.rows)]
    if least_width(rows) > width - len(_INDENT):
        return [title, *_cards(rows, width - len(_INDENT))]
    kept = column_widths(rows, width - len(_INDENT))
    lines = [_row(row, kept, "$faint" if index == 0 else "") for index, row in enumerate(rows)]
    return [title, *lines]


def least_width(rows: Sequence[Sequence[str]]) -> int:
    """The least width in cells at which a table is readable."""
    wide = column_widths(rows, 10**6)
    return sum(min(size, _READABLE) for size in wide) + _GAP * (len(wide) - 1)


def column_widths(rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The width of each column in cells, the widest reduced first until all fit."""
    count = max((len(row) for row in rows), default=0)
    wide = [max(cell_len(row[i]) for row in rows if i < len(row)) for i in range(count)]
    room = width - _GAP * (count - 1)
    while sum(wide) > room and max(wide, default=0) > _LEAST_COLUMN:
        wide[wide.index(max(wide))] -= 1
    return wide


def _question(entry: TranscriptEntry, width: int) -> list[Content]:
    text = beside(Content.styled("› ", "bold $accent"), _content(entry.text, "bold"), width - 1)
    lines = [
        Content.assemble(line, " " * max(0, width - line.cell_length)).stylize("on $panel")
        for line in text
    ]
    return [*lines, Content.styled(f"{_INDENT}{entry.detail}", "$faint")] if entry.detail else lines


def _answer(entry: TranscriptEntry, width: int) -> list[Content]:
    text = entry.text.strip("\n")
    lines = beside(Content(_INDENT), _content(text), width - 1) if text.strip() else []
    if not lines and not entry.running:
        lines = [Content.styled(f"{_INDENT}(empty answer)", "$faint")]
    detail = "…" if entry.running else clean(entry.detail)
    return [*lines, Content.styled(f"{_INDENT}{detail}", "$faint")] if detail else lines


def _content(text: str, style: str = "") -> Content:
    """Foreign text with its line breaks: no markup, control characters replaced."""
    lines = (clean(line) if line.strip() else "" for line in text.expandtabs(4).split("\n"))
    return Content.styled("\n".join(lines), style)


def _facts(rows: Sequence[Sequence[str]], width: int) -> list[Content]:
    room = width - len(_INDENT)
    label = min(max((cell_len(row[0]) for row in rows), default=0), max(8, room // 2))
    lines: list[Content] = []
    for row in rows:
        head = plain(row[0]).truncate(label, ellipsis=True, pad=True).stylize("$faint")
        head = Content.assemble(_INDENT, head, " " * _GAP)
        lines += beside(head, _content(row[1]), max(width, head.cell_length + _LEAST_FACT))
    return lines


def _row(row: Sequence[str], widths: Sequence[int], style: str) -> Content:
    cells = [
        Content(text).truncate(size, ellipsis=True, pad=True)
        for text, size in zip(row, widths, strict=False)
    ]
    line = Content.assemble(_INDENT, Content(" " * _GAP).join(cells))
    return line.stylize(style) if style else line


def _cards(rows: Sequence[Sequence[str]], width: int) -> list[Content]:
    """A table too wide for columns: each row's first text, then `header text` pairs."""
    headers, lines = rows[0], []
    for row in rows[1:]:
        lines.append(truncated(Content(f"{_INDENT}{row[0]}"), width))
        pairs = [
            Content.assemble((f"{header.lower()} ", "$faint"), text)
            for header, text in zip(headers[1:], row[1:], strict=False)
            if text
        ]
        lines += _flowing(pairs, width)
    return lines


def _flowing(parts: Sequence[Content], width: int) -> list[Content]:
    """Parts side by side, as many in a line as fit."""
    lines: list[Content] = []
    indent = _INDENT * 2
    for part in parts:
        if lines and lines[-1].cell_length + _GAP + part.cell_length <= width:
            lines[-1] = Content.assemble(lines[-1], " " * _GAP, part)
        else:
            lines.append(truncated(Content.assemble(indent, part), width))
    return lines


def _cell(text: str) -> str:
    return clean(" ".join(text.split()))
