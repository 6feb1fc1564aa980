"""A dialog that is closed by the end of its work."""

from __future__ import annotations

import asyncio
import threading

from textual.app import App
from textual.screen import ModalScreen

from tui_trainer.tui.common.dialogs.progress import ProgressDialog


class _Bare(App[None]):
    """An app without screens of its own."""

    def get_css_variables(self) -> dict[str, str]:
        return {**super().get_css_variables(), "faint": "#888888"}


async def test_work_that_ends_below_another_dialog_closes_only_its_own() -> None:
    """Such as the command palette, which can be opened above every dialog."""
    ended = threading.Event()
    results: list[str | None] = []

    def work(report: object) -> str:
        ended.wait(20)
        return "done"

    app = _Bare()
    async with app.run_test() as pilot:
        app.push_screen(ProgressDialog("Work", work), results.append)
        above: ModalScreen[None] = ModalScreen()
        app.push_screen(above)
        await pilot.pause()
        dialog = app.screen_stack[-2]
        ended.set()
        while not (dialog._results or results):  # type: ignore[attr-defined]
            await asyncio.sleep(0.01)
        assert app.screen is above and not results
        above.dismiss()
        await pilot.pause()
        await pilot.pause()
        assert results == ["done"] and len(app.screen_stack) == 1
