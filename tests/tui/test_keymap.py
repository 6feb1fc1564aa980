"""One table of keys, and what users make of it."""

from __future__ import annotations

import itertools

import pytest
from textual.actions import parse

from tui_trainer.tui import keymap
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.keymap import KEYS, REACH, make_keymap
from tui_trainer.tui.run_control.actions import RunActions
from tui_trainer.tui.startup.screens import MODES


def test_ids_differ_and_every_key_explains_itself() -> None:
    ids = [key.id for key in KEYS]
    assert len(set(ids)) == len(ids)
    assert all(key.label and key.help and key.keys for key in KEYS)


@pytest.mark.parametrize("screen", REACH)
def test_no_key_means_two_things_on_one_screen(screen: str) -> None:
    for one, other in itertools.combinations(keymap.keys_of(screen), 2):
        assert not set(one.keys.split(",")) & set(other.keys.split(",")), (one.id, other.id)


def test_keys_of_the_interface() -> None:
    on = {
        screen: {k for key in keymap.keys_of(screen) for k in key.keys.split(",")}
        for screen in REACH
    }
    everywhere = {"n", "1", "2", "3", "4", "5", "r", "question_mark", "ctrl+p", "q", "ctrl+z"}
    everywhere |= {"f1", "f2", "f3", "f4", "f5"}
    assert all(everywhere <= keys for keys in on.values())
    assert {"p", "c", "s", "l", "d"} <= on["dashboard"] & on["runs"]
    assert {"g", "m", "y", "x", "plus", "minus", "0", "enter", "j", "k"} <= on["dashboard"]
    assert {"slash", "enter", "j", "k", "up", "down"} <= on["runs"]
    assert {
        "ctrl+g",
        "ctrl+e",
        "ctrl+r",
        "ctrl+y",
        "ctrl+t",
        "ctrl+o",
        "ctrl+n",
        "up",
        "tab",
    } <= on["chat"]
    assert {"l", "u", "R", "D", "T", "c", "e", "M", "space", "enter", "j"} <= on["adapters"]
    assert {"a", "A"} <= on["dashboard"] and "K" in on["dashboard"] & on["runs"]


def test_remapping() -> None:
    keys = make_keymap({"pause": "f8", "zoom_in": "+, f6"})
    assert keys.problems == ()
    pause = next(key for key in KEYS if key.id == "pause")
    zoom = next(key for key in KEYS if key.id == "zoom_in")
    assert keys.shown(pause) == "f8"
    assert keys.all_shown(zoom) == "+ f6"


def test_two_keys_may_be_swapped() -> None:
    keys = make_keymap({"pause": "c", "checkpoint": "p"})
    assert keys.problems == () and keys.overrides == {"pause": "c", "checkpoint": "p"}


def test_same_key_on_different_screens_is_no_clash() -> None:
    assert make_keymap({"filter": "g"}).problems == ()


@pytest.mark.parametrize(
    ("wanted", "messages"),
    [
        ({"pausee": "space"}, "keys.pausee: there is no binding of this name; did you mean pause?"),
        ({"zzz": "space"}, "keys.zzz: there is no binding of this name"),
        ({"pause": "c"}, "'c' is already the key of checkpoint"),
        ({"pause": "?"}, "'?' is already the key of help"),
        ({"pause": " , "}, "keys.pause: give a key"),
    ],
)
def test_an_error_is_reported_once_and_ignored(wanted: dict[str, str], messages: str) -> None:
    keys = make_keymap(wanted)
    assert keys.overrides == {}
    assert len(keys.problems) == 1 and messages in keys.problems[0]


def test_a_clash_with_another_choice_drops_one() -> None:
    keys = make_keymap({"pause": "f8", "stop": "f8"})
    assert keys.overrides == {"pause": "f8"} and len(keys.problems) == 1


def test_keys_that_a_field_consumes() -> None:
    assert keymap.types_text("q") and keymap.types_text("question_mark")
    assert not keymap.types_text("ctrl+s") and not keymap.types_text("escape")
    assert not keymap.types_text("left") and not keymap.types_text("f8")


def test_every_action_of_a_key_is_defined() -> None:
    for key in KEYS:
        target, name, arguments = parse(key.action)
        owner: type = TrainerApp
        if target == "screen":
            screen = MODES["dashboard" if key.scope == "run" else key.scope]()
            owner = type(screen)
        elif name == "control_run":
            owner, name = RunActions, str(arguments[0])
            assert callable(getattr(owner, name)), key.id
            continue
        assert hasattr(owner, f"action_{name}"), key.id


def test_texts_show_the_keys_that_work() -> None:
    keys = make_keymap({"mark_run": "f8", "show_runs": "f9"})
    assert keys.shown_by_id("mark_run") == "f8"
    types = {key.id for key in keymap.KEYS if keys.types_text(key)}
    assert types >= {"help", "quit", "show_chat"} and not types & {"mark_run", "show_runs", "back"}
    assert keys.shown_while_typing("show_dashboard") == "f1"
    assert keys.shown_while_typing("show_runs") == "f9"
    assert [title for _, title, _ in keys.tabs(monitor_only=True)] == ["Dashboard", "Runs"]
    assert [key for key, _, _ in keys.tabs(monitor_only=False)] == ["1", "f9", "3", "4", "5"]
