"""Widget classes are named in stylesheets and focus selectors as they are called in the code."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any

from textual.screen import Screen

import tui_trainer.tui.app as app_module
from tui_trainer.tui.common.dialogs.dialog import STYLES
from tui_trainer.tui.new_run.data_screen import DataScreen
from tui_trainer.tui.runs.compare_screen import CompareScreen
from tui_trainer.tui.runs.details_screen import DetailsScreen

TUI = Path(app_module.__file__).parent
_TEXTUAL = {
    "Button",
    "CommandPalette",
    "DataTable",
    "Input",
    "OptionList",
    "Screen",
    "Select",
    "SelectCurrent",
    "Static",
    "TextArea",
    "Toast",
    "Vertical",
    "VerticalScroll",
}


def class_names() -> set[str]:
    """The names of all classes in `tui`."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in TUI.rglob("*.py")]
    return {
        node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)
    }


def selectors() -> list[tuple[str, str]]:
    """Each class name in a selector, with the file that has it."""
    found = []
    for file in [*TUI.rglob("*.tcss"), *TUI.rglob("*.py")]:
        text = file.read_text(encoding="utf-8")
        if file.suffix == ".py":
            css = re.findall(r'CSS = """(.*?)"""', text, re.S)
            focus = re.findall(r'AUTO_FOCUS = "(.*?)"', text)
            text = "\n".join([*css, *(f"{selector} {{" for selector in focus)])
        text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
        for selector in re.findall(r"([^{};]*)\{", text):
            found += [(name, file.name) for name in re.findall(r"(?<![\w#.-])[A-Z]\w*", selector)]
    return found


def test_selectors_name_classes_that_exist() -> None:
    known = class_names() | _TEXTUAL
    found = selectors()
    assert ("DashboardScreen", "screen.tcss") in found
    unknown = {f"{name} in {file}" for name, file in found if name not in known}
    assert not unknown, f"no such class: {', '.join(sorted(unknown))}"


def test_every_screen_finds_its_stylesheet() -> None:
    for file in TUI.rglob("*.py"):
        parts = file.relative_to(TUI.parent.parent).with_suffix("").parts
        importlib.import_module(".".join(parts).removesuffix(".__init__"))
    screens: list[Any] = [Screen]
    found = set()
    while screens:
        screen = screens.pop()
        screens += screen.__subclasses__()
        if screen.__module__.startswith("tui_trainer.") and screen.CSS_PATH is not None:
            found.add(screen.__name__)
            own = screen.CSS_PATH if isinstance(screen.CSS_PATH, list) else [screen.CSS_PATH]
            for name in own:
                path = Path(inspect.getfile(screen)).parent / str(name)
                assert path.is_file(), f"{screen.__name__}: {path}"
    assert {"HelpScreen", "FindMetric", "AnswerEditor", "DashboardScreen"} <= found


def test_dialogs_with_styles_of_their_own_load_those_of_all_dialogs() -> None:
    for dialog in (CompareScreen, DataScreen, DetailsScreen):
        assert isinstance(dialog.CSS_PATH, list)
        assert dialog.CSS_PATH[0] == STYLES and len(dialog.CSS_PATH) == 2, dialog
