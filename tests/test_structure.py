"""The structure of the package: imports without circles, and one class for each name."""

from __future__ import annotations

import ast
import functools
from collections import defaultdict
from pathlib import Path

import tui_trainer

PACKAGE = Path(tui_trainer.__file__).parent


@functools.cache
def modules() -> dict[str, ast.Module]:
    """The parsed modules of the package by their dotted names."""
    found = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def imports_of(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """The modules of the package that a module imports anywhere: at its top, for type checking
    and within functions."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} has a relative import in line {node.lineno}"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else str(node.module))
    return (found & known) - {name}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """A shortest circle through each module that is in one, each circle once."""
    found: dict[frozenset[str], list[str]] = {}
    for start in sorted(graph):
        paths = {start: [start]}
        waiting = [start]
        while waiting:
            here = waiting.pop(0)
            for target in sorted(graph[here]):
                if target == start:
                    circle = paths[here]
                    found.setdefault(frozenset(circle), [*circle, start])
                    waiting.clear()
                    break
                if target not in paths:
                    paths[target] = [*paths[here], target]
                    waiting.append(target)
    return list(found.values())


def test_circles_are_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(graph) == [["b", "c", "b"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []


def test_imports_are_found_wherever_they_are() -> None:
    tree = ast.parse(
        "from typing import TYPE_CHECKING\n"
        "import p.one\n"
        "if TYPE_CHECKING:\n    from p.two import Two\n"
        "def work():\n    from p import three\n"
    )
    known = {"p", "p.me", "p.one", "p.two", "p.three"}
    assert imports_of("p.me", tree, known) == {"p.one", "p.two", "p.three"}


def test_no_modules_import_each_other_in_a_circle() -> None:
    trees = modules()
    known = set(trees)
    graph = {name: imports_of(name, tree, known) for name, tree in trees.items()}
    found = [" -> ".join(circle) for circle in circles(graph)]
    assert not found, "modules import each other in a circle:\n" + "\n".join(found)


def test_no_public_class_name_is_defined_twice() -> None:
    locations = defaultdict(list)
    for name, tree in modules().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                locations[node.name].append(f"{name}, line {node.lineno}")
    twice = [f"{name}: {'; '.join(found)}" for name, found in locations.items() if len(found) > 1]
    assert not twice, "classes with the same name:\n" + "\n".join(twice)


MOST_MODULES = 16  # a folder with more is divided by feature


def test_no_folder_has_many_modules() -> None:
    found = {}
    for folder in (PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())):
        count = sum(file.name != "__init__.py" for file in folder.glob("*.py"))
        if count > MOST_MODULES:
            found[str(folder.relative_to(PACKAGE))] = count
    assert not found, f"folders with more than {MOST_MODULES} modules: {found}"
