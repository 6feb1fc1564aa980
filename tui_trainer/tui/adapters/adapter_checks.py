"""Whether the files of an adapter are as saved, checked in the background."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from textual.message import Message

from tui_trainer.contracts.errors import error_text
from tui_trainer.store.adapters import adapter_files as files
from tui_trainer.store.adapters.adapter_store import AdapterEntry, AdapterStore
from tui_trainer.tui.common.background import Post, in_background

_CHANGING = frozenset({files.INFO, files.USAGE})  # rewritten at every edit and every answer


@dataclass(frozen=True)
class CheckResult:
    """What was found in an adapter's files."""

    name: str  # of the adapter
    state: object  # of the files: names, sizes and times of change
    problem: str | None  # why the adapter cannot be used, None if it can


class AdapterChecks:
    """One adapter is checked at a time, since all its files are read; again where they changed."""

    class Checked(Message):
        """An adapter was checked."""

        def __init__(self, result: CheckResult) -> None:
            super().__init__()
            self.result = result

    def __init__(self, post: Post) -> None:
        """`post` posts `Checked` to the screen, which calls `add`."""
        self._post = post
        self._found: dict[str, CheckResult] = {}
        self._requested: AdapterEntry | None = None
        self._running = False

    def text(self, name: str) -> str:
        """What is wrong with the adapter of this name, as `adapters show` prints it."""
        found = self._found.get(name)
        return "checking …" if found is None else found.problem or "none"

    def request(self, item: AdapterEntry) -> None:
        """Start to check an adapter; does nothing while another one is checked, nor for the same
        one again as long as its entry is unchanged."""
        if self._running or item == self._requested:
            return
        self._running, self._requested = True, item
        before = self._found.get(item.info.name)
        in_background("check", lambda: self._post(self.Checked(check(item, before))))

    def add(self, result: CheckResult) -> None:
        """Use a result; the next check may be requested."""
        self._running = False
        self._found[result.name] = result


def check(item: AdapterEntry, before: CheckResult | None) -> CheckResult:
    """Check an adapter, or return the result from before if its files are unchanged."""
    store, name = AdapterStore(), item.info.name
    stats = {}
    with contextlib.suppress(OSError):
        for file in (store.root / name).iterdir():
            if file.name not in _CHANGING and file.is_file():
                stat = file.stat()
                stats[file.name] = (stat.st_size, stat.st_mtime_ns)
    state = (item.info.files, stats)
    if before is not None and before.state == state:
        return before
    try:
        return CheckResult(name, state, store.problem(name))
    except Exception as error:
        return CheckResult(name, state, error_text(error))
