"""The base of the dashboard's parts: a page about one run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui_trainer.tui.common.page import Page

if TYPE_CHECKING:
    from tui_trainer.watch.snapshots import RunSummary, RunView


class RunPage(Page):
    """A page about one run, in the newest state that was shown; None until it is read."""

    def __init__(self) -> None:
        super().__init__()
        self._run_view: RunView | None = None

    def target(self) -> RunSummary | None:
        return self._run_view.summary if self._run_view else None
