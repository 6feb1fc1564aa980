"""The stylesheet of every dialog is found, wherever its module is."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from textual.screen import Screen

from tui_trainer import tui
from tui_trainer.tui.common.dialogs.dialog import Dialog


def dialogs() -> list[type[Screen[object]]]:
    for module in pkgutil.walk_packages(tui.__path__, "tui_trainer.tui."):
        importlib.import_module(module.name)
    found: list[type[Screen[object]]] = []
    todo: list[type[Screen[object]]] = [Dialog]
    while todo:
        todo += todo[0].__subclasses__()
        found.append(todo.pop(0))
    return found


@pytest.mark.parametrize("kind", dialogs(), ids=lambda kind: kind.__name__)
def test_a_dialog_has_its_stylesheet(kind: type[Screen[object]]) -> None:
    files = kind.CSS_PATH if isinstance(kind.CSS_PATH, list) else [kind.CSS_PATH]
    for file in files:
        assert isinstance(file, str | Path)
        assert (Path(inspect.getfile(kind)).parent / file).is_file()
