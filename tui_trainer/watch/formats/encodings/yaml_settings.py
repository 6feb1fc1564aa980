"""Reads settings that loggers write as YAML: `hparams.yaml` of Lightning, `meta.yaml` of MLflow.

The file is parsed into events only: no objects are constructed, and tags of Python objects are
ignored. Scalars are read as in YAML 1.2, as in YAML 1.1 `1e-3` is a string and `1:30` is 90.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tui_trainer.contracts.errors import reason_of
from tui_trainer.store.regular_files import read_regular
from tui_trainer.text import formats
from tui_trainer.watch.tables.flatten import flat

if TYPE_CHECKING:
    import yaml

_MOST_BYTES = 256 * 1024
_MOST_VALUES = 10_000  # an alias counts as its values, a long text as several
_LONG_TEXT = 100
_DEEPEST = 50
_CONSTANTS = {
    "": None, "~": None, "null": None, "true": True, "false": False,
    "yes": True, "no": False, "on": True, "off": False,
    ".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan,
}  # fmt: skip
_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*")
_OTHER_BASE = re.compile(r"0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+")
_FLOAT = re.compile(r"[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_STANDARD = "tag:yaml.org,2002:"


@dataclass
class YamlSettings:
    """The settings in a file."""

    values: dict[str, Any] = field(default_factory=dict)  # by `section.key`, at most 500
    problem: str | None = None  # why an existing file could not be read completely


def read_flat(path: Path) -> YamlSettings:
    """The settings in a file; empty where it does not exist."""
    try:
        content = read_regular(path, _MOST_BYTES + 1)
    except FileNotFoundError:
        return YamlSettings()
    except OSError as error:
        return YamlSettings(problem=f"{path.name} cannot be read: {reason_of(error)}")
    values, reason = _parse(content[:_MOST_BYTES].decode("utf-8", "replace"))
    if len(content) > _MOST_BYTES:
        reason = f"only its first {_MOST_BYTES // 1024} KiB are read"
    return YamlSettings(values, None if reason is None else f"{path.name}: {reason}")


def parse_flat(content: str) -> YamlSettings:
    """The settings in a text; where it has an error, those before it."""
    return YamlSettings(*_parse(content))


def _parse(content: str) -> tuple[dict[str, Any], str | None]:
    import yaml  # here, as it takes 20 ms and most runs have no such file

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tree, reason = _Tree(), None
    try:
        tree.build(yaml.parse(content, Loader=loader))
    except yaml.MarkedYAMLError as error:
        line = (
            ""
            if error.problem_mark is None
            else f"line {formats.count(error.problem_mark.line + 1)} "
        )
        reason = f"{line}is not YAML: {error.problem}"
    except yaml.YAMLError as error:
        reason = f"not YAML: {reason_of(error)}"
    except ValueError as error:
        reason = str(error)
    found = tree.result()
    return (flat(found) if isinstance(found, dict) else {}), reason


@dataclass
class _Node:
    """A list or mapping under construction."""

    value: dict[str, Any] | list[Any]
    anchor: str | None  # its name for aliases
    first: int  # number of values before it
    key: str | None = None  # the key whose value comes next
    merged: dict[str, Any] = field(default_factory=dict)  # from `<<`


class _Tree:
    """Builds lists and mappings from the parser's events, without recursion."""

    def __init__(self) -> None:
        self._root: Any = None
        self._open: list[_Node] = []
        self._values = 0
        self._anchors: dict[str, tuple[Any, int]] = {}  # the value, and how many values it has

    def build(self, events: Iterable[yaml.Event]) -> None:
        """Builds the first document. Raises `ValueError` where a limit is exceeded."""
        import yaml

        for event in events:
            if isinstance(event, yaml.ScalarEvent):
                self._add(_scalar(event), event.value, event.anchor)
            elif isinstance(event, yaml.AliasEvent):
                self._add_alias(event.anchor or "")
            elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                if len(self._open) >= _DEEPEST:
                    raise ValueError(f"only values nested up to {_DEEPEST} deep are read")
                self._count(1)
                is_mapping = isinstance(event, yaml.MappingStartEvent)
                self._open.append(_Node({} if is_mapping else [], event.anchor, self._values - 1))
            elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                self._close()
            elif isinstance(event, yaml.DocumentEndEvent):
                return

    def result(self) -> Any:
        """The document, including what was incomplete when reading stopped."""
        while self._open:
            self._close()
        return self._root

    def _count(self, more: int) -> None:
        if self._values + more > _MOST_VALUES:
            raise ValueError(f"only the first {formats.count(_MOST_VALUES)} values are read")
        self._values += more

    def _add_alias(self, anchor: str) -> None:
        if anchor not in self._anchors:
            raise ValueError(f"the alias *{anchor} has no anchor before it")
        value, size = self._anchors[anchor]
        self._count(size)
        self._put(value, str(value))

    def _add(self, value: Any, text: str, anchor: str | None) -> None:
        size = 1 + len(text) // _LONG_TEXT
        self._count(size)
        if anchor is not None:
            self._anchors[anchor] = value, size
        self._put(value, text)

    def _put(self, value: Any, as_key: str) -> None:
        if not self._open:
            self._root = value
            return
        node = self._open[-1]
        if isinstance(node.value, list):
            node.value.append(value)
        elif node.key is None:
            node.key = as_key
        else:
            if node.key == "<<":
                _merge(node.merged, value)
            else:
                node.value[node.key] = value
            node.key = None

    def _close(self) -> None:
        node = self._open.pop()
        value = {**node.merged, **node.value} if isinstance(node.value, dict) else node.value
        if node.anchor is not None:
            self._anchors[node.anchor] = value, self._values - node.first
        self._put(value, f"a {type(value).__name__}")


def _merge(into: dict[str, Any], value: Any) -> None:
    """Merges `<<: *defaults`: the first of several mappings counts, as in YAML 1.1."""
    for mapping in value if isinstance(value, list) else [value]:
        if isinstance(mapping, dict):
            for key, one in mapping.items():
                into.setdefault(key, one)


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if event.tag is not None and not event.tag.startswith(_STANDARD):
        return text or event.tag
    if event.tag is not None and event.tag != "!":
        kind = event.tag.removeprefix(_STANDARD)
        if kind.startswith("python/"):
            return text or kind.partition(":")[2]
        return text if kind == "str" else _plain(text)
    return _plain(text) if event.implicit[0] else text


def _plain(text: str) -> Any:
    """The value of a scalar without quotes: null, boolean, number or text."""
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OTHER_BASE.fullmatch(text):
            return int(text, 0)
        if _FLOAT.fullmatch(text):
            value = float(text)
            return value if math.isfinite(value) else text
    except ValueError:  # thousands of digits, or `1__0`
        pass
    return text
