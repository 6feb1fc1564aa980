"""The list of adapters is filtered, and an adapter's description and tags are edited."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from textual.containers import VerticalScroll
from textual.widgets import Input

from tui_trainer.tui.adapters.adapter_panel import AdapterPanel
from tui_trainer.tui.adapters.edit_dialog import EditDialog
from tui_trainer.tui.app import TrainerApp

Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
ChatApp = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]


async def test_conditions_choose_adapters_and_a_mistake_leaves_the_list_as_it_was(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    room.add_adapter("rivers", tags=["geography"], description="names of rivers")
    room.add_adapter("bank", tags=["support"], scores={"val_accuracy": 0.9})
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await seen(app, "rivers", "bank", "2 adapters", "newest first", "/ filter")
        screen: Any = app.screen
        await pilot.press("space", "slash", *"names")  # in the description
        await seen(app, "1 of 2 adapters", "matching names", "● 1 marked", "names of rivers")
        assert screen._table.chosen == "rivers" and screen._table.row_count == 1
        field = app.screen.query_one(Input)
        field.value = "val_accuracy>=x"
        await seen(app, "val_accuracy>= needs a number, not 'x'", "1 of 2 adapters", "rivers")
        field.value = "val_accuracy>=0.8 tag:sup"
        await seen(app, "1 of 2 adapters")
        await becomes(app, lambda: screen._table.chosen == "bank")
        field.value = "lss<1"
        await seen(app, "there is no field 'lss'; did you mean loss?", "1 of 2 adapters")
        field.value = "neither"
        await seen(app, "none of 2 adapters")
        assert app.screen.query_one(AdapterPanel).facts is None  # no details of a hidden one
        await pilot.press("enter", "escape")
        await seen(app, "2 adapters", "rivers", "bank")
        assert "matching" not in text_of(app)
        await pilot.press("slash", *"val")  # the start of a condition: not a word yet
        await becomes(app, lambda: screen._table.row_count == 2)
        await pilot.press("escape")
        await becomes(app, lambda: app.focused is screen._table)
        assert app.current_mode == "adapters"


async def test_description_and_tags_are_edited_and_an_error_loses_nothing(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, shown_notices: Text
) -> None:
    room.add_adapter("rivers", tags=["draft", "geography"], description="names")
    app = chat_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "rivers", "E edit")
        await pilot.press("E", *" of Europe")  # typing continues the text
        await seen(app, "Edit rivers", "description", "names of Europe", "draft geography")
        tags = app.screen.query_one("#tags", Input)
        tags.value = "geography, a=b"
        await seen(app, "'a=b' cannot be a tag")
        await pilot.press("enter")
        assert isinstance(app.screen, EditDialog)
        room.adapters.edit("rivers", tag=["other"])  # another session adds a tag
        room.adapters.rename("rivers", "streams")
        tags.value = "geography, checked"
        await pilot.press("enter")
        await seen(app, "there is no adapter 'rivers'", "of Europe", "geography, checked")
        room.adapters.rename("streams", "rivers")
        await pilot.press("enter")
        await becomes(app, lambda: not isinstance(app.screen, EditDialog))
        await seen(app, "description names of Europe", "geography, other, checked")
        assert "saved the description and tags of rivers" in shown_notices(app)
    info = room.adapters.get("rivers")
    assert info.description == "names of Europe" and info.tags == ["geography", "other", "checked"]


async def test_details_that_do_not_fit_are_scrolled_by_keys(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, text_of: Text
) -> None:
    room.add_adapter("first")
    room.add_adapter("second")
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await seen(app, "second", "problem     none", "active      no", "J scroll")
        assert "created   " not in text_of(app)
        details = app.screen.query_one("#adapter", VerticalScroll)
        await pilot.press(*"JJJJJJJJJ")
        await seen(app, "created  ", "size  ")
        await pilot.press("K")
        await becomes(app, lambda: 0 < details.scroll_y < details.max_scroll_y)
        await pilot.press("j")  # another adapter is shown from its start
        await becomes(app, lambda: details.scroll_y == 0)
        await pilot.resize_terminal(200, 60)
        await becomes(app, lambda: "J scroll" not in text_of(app) and "size  " in text_of(app))


async def test_columns_follow_the_width_while_a_condition_is_wrong(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    room.add_adapter("first", tags=["geography"])
    app = chat_app()
    async with app.run_test(size=(60, 16)) as pilot:
        await pilot.press("4")
        await seen(app, "first", "1 adapter ")
        await pilot.press("slash", *"fir los<1")
        await seen(app, "did you mean loss?")
        await pilot.resize_terminal(200, 60)
        await seen(app, "val loss", "geography")
