"""One field of the form."""

from __future__ import annotations

from textual.app import App, ComposeResult

from tui_trainer.tui.new_run.field_row import OneLine


class Small(App[None]):
    """A terminal with a hint in wide characters and nothing else."""

    CSS = "OneLine { height: 1; }"

    def compose(self) -> ComposeResult:
        yield OneLine("学習率が高すぎます")


async def test_a_hint_in_wide_characters_ends_with_an_ellipsis() -> None:
    app = Small()
    async with app.run_test(size=(12, 2)) as pilot:
        await pilot.pause()
        shown = app.screen._compositor.render_strips()[0].text
        assert shown.rstrip() == "学習率が高…"
