"""The little of YAML that loggers write: `key: value` lines, nested by spaces."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tui_trainer.store.regular_files import read_regular

_MOST_BYTES = 256 * 1024
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}


def read_flat(path: Path) -> dict[str, Any]:
    """A file's values by `section.key`; an absent or unreadable one gives nothing."""
    try:
        content = read_regular(path, _MOST_BYTES)
    except OSError:
        return {}
    return parse_flat(content.decode("utf-8", "replace"))


def parse_flat(content: str) -> dict[str, Any]:
    """Plain values by `section.key`; lists in `- ` lines are kept together, the rest of YAML
    (anchors, tags of Python objects, block texts) is passed over."""
    found: dict[str, Any] = {}
    sections: list[tuple[int, str]] = []
    for line in content.splitlines():
        stripped = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        if stripped.startswith("- ") and sections:
            key = ".".join(name for _, name in sections)
            known = found.setdefault(key, [])
            if isinstance(known, list):
                known.append(_value(stripped[2:]))
            continue
        name, colon, value = stripped.partition(":")
        if not colon or stripped.startswith("#") or (value and value[0] != " "):
            continue
        while sections and sections[-1][0] >= indent:
            sections.pop()
        key = name.strip("'\" ")
        value = value.strip()
        if not value or value.startswith(("!", "&")):
            sections.append((indent, key))
        else:
            found[".".join([*(name for _, name in sections), key])] = _value(value)
    return found


def _value(word: str) -> Any:
    word = word.strip()
    if word[:1] in "'\"" and word[-1:] == word[:1] and len(word) > 1:
        return word[1:-1]
    if word.lower() in _WORDS:
        return _WORDS[word.lower()]
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word
