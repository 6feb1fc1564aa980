"""Hints, completion and history of the input line. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_EMPTY_HINT = "↑ earlier lines   tab completes a command   /help lists all"


@dataclass(frozen=True)
class CommandForms:
    """The forms of each command by its name: (how it is typed, what it does)."""

    forms: Mapping[str, Sequence[tuple[str, str]]]

    def matching(self, text: str) -> list[str]:
        """The commands that start with the text; none after a space."""
        if not text.startswith("/") or " " in text:
            return []
        return [name for name in self.forms if name.startswith(text[1:])]

    def hint(self, text: str) -> str:
        """One line for the typed text: the command's form and help, or the matching commands."""
        if not text:
            return _EMPTY_HINT
        if not text.startswith("/") or text.startswith("//"):
            return ""
        name = text[1:].split(" ", 1)[0]
        found = self.matching(text)
        if name in self.forms and (len(found) <= 1 or " " in text):
            return self._forms(name, text)
        if len(found) == 1:
            return f"tab completes  {self._forms(found[0], text)}"
        if found:
            return "tab completes  " + "  ".join(f"/{one}" for one in found)
        return f"unknown command /{name}; /help lists the commands"

    def completed(self, text: str) -> str:
        """The line, its command completed as far as it is unambiguous."""
        found = self.matching(text)
        if not found:
            return text
        return f"/{found[0]} " if len(found) == 1 else f"/{_common(found)}"

    def _forms(self, name: str, text: str) -> str:
        """The form being typed, or all forms."""
        forms = self.forms[name]
        parts = text.split()
        if len(parts) > 1:
            exact = [form for form in forms if form[0].split()[1:2] == parts[1:2]]
            forms = exact or [f for f in forms if f[0].startswith(f"/{name} {parts[1]}")] or forms
        if len(forms) == 1:
            return "  ".join(forms[0])
        rests = [form.removeprefix(f"/{name}").strip() or "…" for form, _ in forms]
        return f"/{name} {' | '.join(rests)}"


def _common(names: Sequence[str]) -> str:
    """The longest common prefix."""
    first, last = min(names), max(names)
    size = next((i for i, c in enumerate(first) if last[i : i + 1] != c), len(first))
    return first[:size]


class InputHistory:
    """Steps through earlier lines; the line being typed counts as the newest."""

    def __init__(self) -> None:
        self._index: int | None = None
        self._draft = ""

    def step(self, lines: Sequence[str], typed: str, direction: int) -> str:
        """The line `direction` steps away (-1 earlier, 1 later)."""
        if self._index is None:
            if direction > 0 or not lines:
                return typed
            self._draft, self._index = typed, len(lines)
        self._index = max(0, min(len(lines), self._index + direction))
        if self._index == len(lines):
            self._index = None
            return self._draft
        return lines[self._index]

    def forget(self) -> None:
        """Start from the newest line again, after something was typed."""
        self._index = None
