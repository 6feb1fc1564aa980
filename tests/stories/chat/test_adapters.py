"""What was learned: looked at, chosen, compared, tidied."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from textual.widgets import Input

from tui_trainer.contracts.predict import Prediction
from tui_trainer.contracts.teaching.feedback import Turn
from tui_trainer.store import atomic, model_files, paths
from tui_trainer.store.adapters import adapter_files
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.adapters import background_tasks
from tui_trainer.tui.app import TrainerApp

Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]
ChatApp = Callable[..., TrainerApp]
Text = Callable[[TrainerApp], str]


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_table_details_and_loading(
    size: tuple[int, int], room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes
) -> None:
    room.add_adapter("first")
    room.add_adapter("second")
    app = chat_app()
    async with app.run_test(size=size) as pilot:
        await pilot.press("4")
        await seen(app, "first", "second", "recalled", "100 %", "98 %", "30 % → 100 % of 10")
        await pilot.press("j", "enter")
        await seen(app, "● 1", "active      yes")
        assert room.model.live == {"first": 1.0} == room.adapters.live()
        await pilot.press("enter")
        await seen(app, "active      no")
        await pilot.press("k", "l")
        await becomes(app, lambda: room.adapters.live() == {"second": 1.0})
        await pilot.press("u")
        await becomes(app, lambda: room.adapters.live() == {})


async def test_the_empty_screen_shows_what_to_do(room: Any, chat_app: ChatApp, seen: Seen) -> None:
    app = chat_app()
    async with app.run_test(size=(80, 24), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "no adapters yet", "Press 3 and correct answers", "K on the")
        await pilot.press("l", "c", "T")
        await seen(app, "the trash is empty")


async def test_rename_delete_and_restore(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, shown_notices: Text
) -> None:
    room.add_adapter("first")
    room.add_adapter("other")
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "first", "other")
        await pilot.press("R")
        await seen(app, "New name for other")
        field = app.screen.query_one(Input)
        field.value = "../up"
        await seen(app, "cannot be a folder's name")
        field.value = "first"
        await seen(app, "there is already an adapter first")
        field.value = "capitals"
        await pilot.press("enter")
        await becomes(app, lambda: "is renamed to capitals" in shown_notices(app))
        await seen(app, "  capitals ")
        await pilot.press("D")
        await seen(app, "delete adapter capitals? It is moved to the trash", "y  confirm")
        await pilot.press("escape")
        await pilot.press("D")
        await seen(app, "delete adapter capitals?")
        await pilot.press("y")
        await becomes(app, lambda: [i.info.name for i in room.adapters.list()] == ["first"])
        await becomes(app, lambda: "is moved to the trash" in shown_notices(app))
        await pilot.press("r")
        await becomes(app, lambda: len(app.screen._listing.trash) == 1)  # type: ignore[attr-defined]
        await pilot.press("T")
        await seen(app, "Deleted adapters", "capitals  deleted")
        await pilot.press("enter")
        await becomes(app, lambda: len(room.adapters.list()) == 2)
        await seen(app, "  capitals ")


async def test_compare_two_marked(
    room: Any, chat_app: ChatApp, seen: Seen, text_of: Text, becomes: Becomes
) -> None:
    room.add_adapter("first")
    room.add_adapter("second", train_loss=None)
    room.conversation.append(Turn("user", "what is [red]it[/]?"))
    room.conversation.append(Turn("assistant", "this"))
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "first", "second")
        await pilot.press("c")
        await seen(app, "mark two adapters with space")
        room.model.held.clear()
        await pilot.press("space", "space", "c")
        await seen(
            app, "● first", "Comparing second and first", "answering with second: 1 of 2", "━"
        )
        await pilot.press("escape")
        await becomes(app, lambda: "Comparing" not in text_of(app))
        room.model.held.set()
        await pilot.press("c")
        await seen(app, "changes by layer", "3 q_proj", "+0.25", "━━━")
        await seen(app, "› what is [red]it[/]?", "as second has it", "as first has it")
        await pilot.press("escape")
        await seen(app, "load/unload")


async def test_ensemble_of_the_marked(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes
) -> None:
    room.add_adapter("first")
    room.add_adapter("second")
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("4")
        await seen(app, "first", "second")
        await pilot.press("space", "space", "e")
        await seen(app, "Weights of the ensemble")
        field = app.screen.query_one(Input)
        assert field.value == "second=0.5 first=0.5"
        field.value = "second=0.7 first=zero"
        await seen(app, "write NAME=WEIGHT")
        field.value = "second=0.7 first=0.3"
        await pilot.press("enter")
        await becomes(app, lambda: room.model.live == {"second": 0.7, "first": 0.3})
        await seen(app, "● 0.7", "● 0.3", "yes, weight")
        await pilot.press("3")
        await seen(app, "0.7 second + 0.3 first")


async def test_merge_into_a_folder(
    room: Any, chat_app: ChatApp, seen: Seen, tmp_path: Path, becomes: Becomes, shown_notices: Text
) -> None:
    room.add_adapter("first")
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "first")
        await pilot.press("M")
        await seen(app, "Folder for first merged with its base")
        app.screen.query_one(Input).value = str(tmp_path / "merged")
        await pilot.press("enter")
        await becomes(
            app, lambda: f"with its base model into {tmp_path / 'merged'}" in shown_notices(app)
        )


async def test_a_broken_adapter_is_refused_with_the_reason(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, shown_notices: Text
) -> None:
    folder = room.add_adapter("first")
    (folder / "adapter_model.safetensors").write_bytes(b"torn")
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "first", "adapter_model.safetensors")  # in its details
        await pilot.press("l")
        await becomes(app, lambda: "'first' cannot be loaded" in shown_notices(app))
        assert "SHA-256 differs" in shown_notices(app) and room.model.live == {}


async def test_a_run_is_added_to_the_adapters(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, shown_notices: Text,
    make_run: Callable[..., RunFolder], put_adapter: Callable[[Path], None],
) -> None:  # fmt: skip
    busy = make_run("busy", age=60)
    folder = make_run("lighthouse v1.2", "completed")
    put_adapter(folder.adapter_dir)
    set_base_hash(folder, "0" * 64)
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await seen(app, "busy · training")
        await pilot.press("2", "k", "enter")
        await seen(app, "lighthouse v1.2 · completed")
        await pilot.press("K")
        await seen(app, "Name of the adapter")
        assert app.screen.query_one(Input).value == "lighthouse-v1-2"
        await pilot.press("enter")
        await becomes(app, lambda: "trained on another version of builtin" in shown_notices(app))
        set_base_hash(folder, model_files.hash_model(paths.builtin_model()))
        await pilot.press("K")
        await seen(app, "Name of the adapter")
        await pilot.press("enter")
        await seen(app, "lighthouse-v1-2", "trained on", "the files of its run")
        await pilot.press("2", "j", "K")
        await becomes(app, lambda: "busy has no finished adapter yet" in shown_notices(app))
    assert busy.status() == "training"
    assert room.adapters.get("lighthouse-v1-2").run_id == "lighthouse v1.2-id"


def set_base_hash(folder: RunFolder, value: str) -> None:
    info = folder.info()
    assert info is not None
    atomic.write_json(folder.info_file, msgspec.structs.replace(info, base_hash=value))


async def test_the_cursor_follows_a_renamed_adapter(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes
) -> None:
    """Even when the list was read in the middle of it, without either name."""
    room.add_adapter("first")
    room.add_adapter("other")
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "first", "other")
        screen: Any = app.screen
        await pilot.press("R")
        await seen(app, "New name for other")
        app.screen.query_one(Input).value = "capitals"
        whole = screen._listing
        held: list[str] = []
        submit = screen._submit
        screen._submit = held.append
        await pilot.press("enter")
        await becomes(app, lambda: app.screen is screen)
        items = tuple(item for item in whole.items if item.info.name != "other")
        screen._listing = dataclasses.replace(whole, items=items)
        screen._fill()
        assert screen._table.chosen == "first"
        submit(held[0])
        await becomes(app, lambda: screen._table.chosen == "capitals")


class _Pets:
    """A classifier that is sure of cats."""

    def text(self, text: str) -> Prediction:
        values = {"cat": 0.9, "dog": 0.1}
        return Prediction(row=1, input=text, label="cat", probability=0.9, probabilities=values)

    def close(self) -> None:
        pass


async def test_a_classifier_is_tried_and_not_offered_to_the_chat(
    room: Any, chat_app: ChatApp, seen: Seen, becomes: Becomes, shown_notices: Text,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    adapter_files.write_labels(room.add_adapter("pets"), ["cat", "dog"])
    monkeypatch.setattr(background_tasks, "load_classifier", lambda name, report: _Pets())
    app = chat_app()
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        await pilot.press("4")
        await seen(app, "pets", "classification")
        await pilot.press("l")
        await becomes(app, lambda: "predict pets FILE" in shown_notices(app))
        await pilot.press("enter")
        await seen(app, "Classify a text with pets")
        await pilot.press("m", "e", "w")
        await seen(app, "cat", "90 %", "10 %")
        await pilot.press("escape")
        await seen(app, "t try")
    assert room.model.live == {}


async def test_slash_commands_refuse_a_classifier_at_once(
    room: Any, chat_app: ChatApp, seen: Seen
) -> None:
    adapter_files.write_labels(room.add_adapter("pets"), ["cat", "dog"])
    app = chat_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("3")
        await pilot.press(*"/adapters load pets", "enter")
        await seen(app, "is a classifier and does not answer in the chat")
    assert room.model.live == {}
