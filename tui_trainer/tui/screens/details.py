"""Everything that is fixed about one run: job, versions, paths."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.contracts.run import RunInfo
from tui_trainer.tui import states
from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.screens.dialog import Dialog
from tui_trainer.tui.text import plain
from tui_trainer.watch.view import RunSummary

_LABEL = 27


class Details(Dialog[None]):
    """Scrolls; Esc, `d` and `q` close it."""

    BINDINGS: ClassVar = [
        Binding("escape,d,q", "dismiss(None)", "close", show=False),
        Binding("j", "scroll(1)", "down", show=False),
        Binding("k", "scroll(-1)", "up", show=False),
    ]
    AUTO_FOCUS = "VerticalScroll"

    def __init__(self, run: RunSummary, info: RunInfo | None, oddities: tuple[str, ...]) -> None:
        super().__init__()
        self._content = details_of(run, info, oddities)

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog -tall"):
            yield Static(self._content)

    def action_scroll(self, lines: int) -> None:
        self.query_one(VerticalScroll).scroll_relative(y=lines, animate=False)


def details_of(run: RunSummary, info: RunInfo | None, oddities: tuple[str, ...]) -> Content:
    """The facts as aligned lines."""
    lines = [
        Content.assemble(plain(run.name, "bold"), "  ", states.badge(run.status)),
        _fact("folder" if run.kind == "run" else "file", str(run.path)),
    ]
    if run.message:
        lines.append(_fact("message", run.message))
    lines += [_fact("odd", text) for text in oddities]
    if info is None:
        lines.append(Content.styled("no run.json: nothing more is known", "$faint"))
        return Content("\n").join(lines)
    lines += [
        _fact("id", info.id),
        _fact("made", time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(info.created_at))),
        _fact("host", info.host),
        _fact("resumed from", info.resumed_from or "–"),
    ]
    job = msgspec.to_builtins(info.job)
    lines += _section("job", {k: v for k, v in job.items() if not isinstance(v, dict)})
    for name, section in job.items():
        if isinstance(section, dict):
            lines += _section(name, section)
    lines += _section(
        "base", {"model": info.base_model, "path": info.base_path, "hash": info.base_hash}
    )
    lines += _section("data files", {"hash": info.data_hash, **info.data_files})
    lines += _section("versions", dict(info.versions))
    return Content("\n").join(lines)


def _section(title: str, facts: dict[str, Any]) -> list[Content]:
    return [
        Content(""),
        Content.styled(title, "bold $accent"),
        *(_fact(name, _words(value)) for name, value in facts.items()),
    ]


def _fact(name: str, value: str) -> Content:
    return Content.assemble((f"{clean(name):<{_LABEL}} ", "$faint"), clean(value))


def _words(value: Any) -> str:
    if value is None:
        return "–"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
