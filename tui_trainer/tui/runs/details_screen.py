"""The details of one run: facts, configuration, events, checkpoints, hardware, log, data,
scores on files and by class, results by epoch, and answers to sample prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Static

from tui_trainer.contracts.errors import reason_of
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.dialog import STYLES, FullDialog, StylePaths
from tui_trainer.tui.common.markup import plain
from tui_trainer.tui.common.wrapped_text import WrappedText
from tui_trainer.tui.runs import (
    details_pages,
    epoch_page,
    evaluation_pages,
    sample_page,
    score_page,
)
from tui_trainer.watch.runs.details.run_details import RunDetails, read_details
from tui_trainer.watch.runs.resolve import location_of
from tui_trainer.watch.snapshots import RunSummary, RunView

PAGES = {
    **details_pages.PAGES,
    "data": evaluation_pages.data,
    "scores": score_page.scores,
    "epochs": epoch_page.epochs,
    "samples": sample_page.samples,
}
TABS = tuple(PAGES)
# Pages of several evaluations, `[` and `]` turn them: how many there are.
_TURNED: dict[str, Callable[[RunDetails], int]] = {
    "scores": score_page.count,
    "samples": sample_page.count,
}
_NARROW = {"configuration": "config", "checkpoints": "ckpts"}
_GAP = "  "  # between two tabs
_KEYS = " tab or 1–9 0 page   j k scroll   r reload   esc close"


def _digit(page: int) -> str:
    """The key of a page: `1` to `9`, and `0` for the tenth."""
    return str((page + 1) % 10)


class DetailsScreen(FullDialog):
    """A page per kind of fact; a run that is not known yet is read in the background."""

    CSS_PATH: ClassVar[StylePaths] = [STYLES, "details_screen.tcss"]
    BINDINGS: ClassVar = [
        Binding("d", "dismiss(None)", "close", show=False),
        Binding("tab,right", "turn(1)", "next page", show=False),
        Binding("shift+tab,left", "turn(-1)", "previous page", show=False),
        Binding("r", "read", "read again", show=False),
        Binding("left_square_bracket", "evaluation(1)", "earlier evaluation", show=False),
        Binding("right_square_bracket", "evaluation(-1)", "later evaluation", show=False),
        *(Binding(_digit(at), f"page({at})", tab, show=False) for at, tab in enumerate(TABS)),
    ]

    def __init__(self, run: RunSummary, view: RunView | None) -> None:
        super().__init__()
        self._run = run
        self._known = RunDetails(view if view is not None else RunView(run))
        self._page = 0
        # By page, evaluations between the newest and the one that is shown.
        self._back = dict.fromkeys(_TURNED, 0)
        self._reading = True
        self._problem: str | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog -tall"):
            yield WrappedText(id="details-head")
            yield Static(id="details-tabs", markup=False)
            with VerticalScroll():
                yield Static(id="details-text", markup=False)
            yield Static(_KEYS, id="details-keys", markup=False)

    def on_mount(self) -> None:
        self._draw()
        view = self._known.view
        self._read(view if len(view.train) or len(view.evals) or view.info else None)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def action_turn(self, step: int) -> None:
        self.action_page((self._page + step) % len(TABS))

    def action_page(self, page: int) -> None:
        self._page = page
        self._draw()
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_evaluation(self, back: int) -> None:
        """Show the scores or sample answers of an earlier evaluation, or of a later one."""
        tab = TABS[self._page]
        if tab in _TURNED:
            last = max(0, _TURNED[tab](self._known) - 1)
            self._back[tab] = min(max(0, self._back[tab] + back), last)
            self._draw()

    def action_read(self) -> None:
        self._read(None)

    def _read(self, view: RunView | None) -> None:
        run, app = self._run, self.app
        location = location_of(run)
        self._reading = True

        def work() -> None:
            try:
                found, problem = read_details(location, view), None
            except Exception as error:  # shown on the page; in a thread it would be silent
                found, problem = self._known, f"{run.path} cannot be read: {reason_of(error)}"
            if app.is_running:
                app.call_from_thread(self._take, found, problem)

        in_background("details", work)

    def _take(self, found: RunDetails, problem: str | None) -> None:
        self._known, self._problem, self._reading = found, problem, False
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        if not self.is_mounted:
            return
        width = self.text_width
        head = details_pages.head(self._known.view, self._run)
        if self._reading:
            head = Content.assemble(head, ("   reading …", "$faint"))
        if self._problem is not None:
            head = Content.assemble(head, "\n", plain(self._problem, "$warning"))
        self.query_one("#details-head", WrappedText).update(head)
        self.query_one("#details-tabs", Static).update(self._tabs(width))
        tab = TABS[self._page]
        if tab == "samples":
            text = sample_page.samples(self._known, width, self._back[tab])
        elif tab == "scores":
            text = score_page.scores(self._known, width, self._back[tab])
        else:
            text = PAGES[tab](self._known, width)
        self.query_one("#details-text", Static).update(text)

    def _tabs(self, width: int) -> Content:
        short = width < 90
        lines: list[list[Content]] = [[]]
        for at, tab in enumerate(TABS):
            style = "bold $accent" if at == self._page else "$faint"
            name = _NARROW.get(tab, tab) if short else tab
            one = Content.from_markup(
                f"[@click=screen.page({at})][{style}]{_digit(at)} {name}[/][/]"
            )
            if sum(part.cell_length + len(_GAP) for part in lines[-1]) + one.cell_length > width:
                lines.append([])
            lines[-1].append(one)
        return Content("\n").join([Content(_GAP).join(line) for line in lines])
