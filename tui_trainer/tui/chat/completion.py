"""What a line that is typed may become: hints, completion, and earlier lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ASKING = "↑ earlier lines   tab completes a command   /help lists all"


@dataclass(frozen=True)
class CommandForms:
    """Every form of each command, as it is typed and what it does, by the command's name."""

    forms: Mapping[str, Sequence[tuple[str, str]]]

    def matching(self, text: str) -> list[str]:
        """The commands that a line may become; none once a space follows the name."""
        if not text.startswith("/") or " " in text:
            return []
        return [name for name in self.forms if name.startswith(text[1:])]

    def hint(self, text: str) -> str:
        """One line about what is typed: the command's form and help, or which ones match."""
        if not text:
            return _ASKING
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
        """The line with its command completed as far as it is clear."""
        found = self.matching(text)
        if not found:
            return text
        return f"/{found[0]} " if len(found) == 1 else f"/{_common(found)}"

    def _forms(self, name: str, text: str) -> str:
        """The form that is being typed, else every one."""
        forms = self.forms[name]
        words = text.split()
        if len(words) > 1:
            begun = [form for form in forms if form[0].split()[1:2] == words[1:2]]
            forms = begun or [f for f in forms if f[0].startswith(f"/{name} {words[1]}")] or forms
        if len(forms) == 1:
            return "  ".join(forms[0])
        rests = [form.removeprefix(f"/{name}").strip() or "…" for form, _ in forms]
        return f"/{name} {' | '.join(rests)}"


def _common(names: Sequence[str]) -> str:
    """The longest beginning that all share."""
    first, last = min(names), max(names)
    size = next((i for i, c in enumerate(first) if last[i : i + 1] != c), len(first))
    return first[:size]


class InputHistory:
    """Walks through earlier lines; what was being typed is the newest of them."""

    def __init__(self) -> None:
        self._place: int | None = None
        self._draft = ""

    def step(self, lines: Sequence[str], typed: str, direction: int) -> str:
        """The line `direction` steps away (-1 earlier, 1 later)."""
        if self._place is None:
            if direction > 0 or not lines:
                return typed
            self._draft, self._place = typed, len(lines)
        self._place = max(0, min(len(lines), self._place + direction))
        if self._place == len(lines):
            self._place = None
            return self._draft
        return lines[self._place]

    def forget(self) -> None:
        """Something was typed: the walk begins anew."""
        self._place = None
