"""`NO_COLOR`: every screen opens, is grey, and marks what is chosen by more than a grey."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from rich.style import Style
from textual.pilot import Pilot

from tui_trainer.contracts.settings import ChartSettings, Settings
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.app import TrainerApp

MakeRun = Callable[..., RunFolder]
Text = Callable[[TrainerApp], str]
Seen = Callable[..., Awaitable[None]]
ChatApp = Callable[..., TrainerApp]

# Keys that open a screen, and what stands on it at every size.
SCREENS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("f1",), "loss"),
    (("slash",), "gradient norm"),
    (("escape", "l"), "Learning rate of lighthouse"),
    (("escape", "s"), "stop it?"),
    (("escape", "d"), "lighthouse"),
    (("escape", "h"), "CPU"),
    (("escape", "question_mark"), "quit"),
    (("escape", "ctrl+p"), "Search for commands"),
    (("escape", "f2"), "done"),
    (("space", "space", "v"), "lighthouse"),
    (("escape", "f3"), "the base model"),
    (("h", "i", "enter"), "an answer to hi"),
    (("f4",), "coder"),
    (("f5",), "train file"),
)


def styles_of(app: TrainerApp) -> list[tuple[str, Style | None]]:
    return [
        (segment.text, segment.style)
        for strip in app.screen._compositor.render_strips()
        for segment in strip
    ]


def is_grey(style: Style | None) -> bool:
    colours = [] if style is None else [style.color, style.bgcolor]
    triplets = [colour.get_truecolor() for colour in colours if colour and not colour.is_default]
    return all(triplet.red == triplet.green == triplet.blue for triplet in triplets)


@pytest.mark.parametrize(
    ("size", "theme", "marks"),
    [
        ((80, 24), "harbour", "ascii"),
        pytest.param((60, 16), "harbour", "braille", marks=pytest.mark.slow),
        pytest.param((80, 24), "paper", "braille", marks=pytest.mark.slow),
        pytest.param((200, 60), "paper", "braille", marks=pytest.mark.slow),
    ],
)
async def test_every_screen_is_drawn_in_greys(
    size: tuple[int, int], theme: str, marks: Any, room: Any, make_run: MakeRun,
    chat_app: ChatApp, seen: Seen, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NO_COLOR", "1")
    make_run("lighthouse")
    make_run("done", "completed", age=50)
    room.add_adapter("coder")
    app = chat_app(settings=Settings(theme=theme, charts=ChartSettings(marks=marks)))
    async with app.run_test(size=size) as pilot:
        await seen(app, "loss")
        for keys, text in SCREENS:
            await pilot.press(*keys)
            await seen(app, text)
            await every_pane_is_grey(app, pilot)
    assert app._exception is None


async def every_pane_is_grey(app: TrainerApp, pilot: Pilot[Any]) -> None:
    """Also with each of the first fields and panes in focus."""
    for _ in range(4):
        coloured = [text for text, style in styles_of(app) if not is_grey(style)]
        assert not coloured, coloured
        app.screen.focus_next()
        await pilot.pause()


async def test_the_selection_is_marked_by_more_than_its_grey(
    make_run: MakeRun, chat_app: ChatApp, seen: Seen, text_of: Text,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("NO_COLOR", "1")
    make_run("lighthouse")
    make_run("done", "completed", age=50)
    app = chat_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await seen(app, "loss")
        await pilot.press("tab")
        assert "┃" in text_of(app)  # the pane in focus
        await pilot.press("f2")
        await seen(app, "done")
        turned = "".join(text for text, style in styles_of(app) if style and style.reverse)
        assert "lighthouse" in turned and "Runs" in turned
        assert "done" not in turned and "Chat" not in turned


@pytest.mark.slow
async def test_a_terminal_that_is_too_small_is_reported_in_grey(
    make_run: MakeRun, chat_app: ChatApp, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    make_run("lighthouse")
    app = chat_app()
    async with app.run_test(size=(40, 12)) as pilot:
        await seen(app, "The terminal is 40×12")
        for keys, _ in SCREENS:
            await pilot.press(*keys)
            assert all(is_grey(style) for _, style in styles_of(app))


@pytest.mark.parametrize("value", [None, ""])
async def test_without_it_or_with_an_empty_one_there_are_colours(
    value: str | None, make_run: MakeRun, chat_app: ChatApp, seen: Seen,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    make_run("lighthouse")
    app = chat_app()
    async with app.run_test(size=(80, 24)):
        await seen(app, "loss")
        assert not all(is_grey(style) for _, style in styles_of(app))
