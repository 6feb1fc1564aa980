"""Stand-ins for what is loaded after the first paint."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, cast

from tui_trainer.tui.startup.lazy_services import LazyWatcher


class Watcher:
    """Notes what it is asked."""

    def __init__(self) -> None:
        self.calls: list[object] = []
        self.started = threading.Event()

    def start(self) -> None:
        self.calls.append("start")
        self.started.set()

    def stop(self) -> None:
        self.calls.append("stop")

    def focus(self, path: Path | None) -> None:
        self.calls.append(path)

    def refresh(self) -> None:
        self.calls.append("refresh")


def test_calls_before_it_is_loaded_are_forwarded_first() -> None:
    real = Watcher()
    loading = threading.Event()

    def make() -> Any:
        loading.wait(10)
        return real

    late = LazyWatcher(cast(Any, make))
    late.focus(Path("a"))
    late.start()
    late.start()
    late.focus(Path("b"))
    loading.set()
    assert real.started.wait(10)
    late.refresh()
    late.stop()
    assert real.calls == [Path("a"), Path("b"), "start", "refresh", "stop"]


def test_a_run_that_cannot_be_created_shows_the_reason() -> None:
    reported: list[str] = []
    received = threading.Event()

    def make() -> Any:
        raise ImportError("no numpy")

    def failed(reason: str) -> None:
        reported.append(reason)
        received.set()

    LazyWatcher(cast(Any, make), failed).start()
    assert received.wait(10)
    assert reported == ["the folder cannot be watched: ImportError: no numpy"]


def test_a_watcher_stopped_while_it_loads_is_never_started() -> None:
    real = Watcher()
    loading, loaded = threading.Event(), threading.Event()

    def make() -> Any:
        loading.wait(10)
        loaded.set()
        return real

    late = LazyWatcher(cast(Any, make))
    late.start()
    late.stop()
    loading.set()
    assert loaded.wait(10)
    for thread in threading.enumerate():
        if thread.name == "opening":
            thread.join(10)
    assert real.calls == []
