"""From threads to messages."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from textual.app import App, ComposeResult
from textual.message import Message
from textual.widgets import Static

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.tui.common.protocols import Services
from tui_trainer.tui.messages import EngineEnded, FolderChanged, HardwareSampled
from tui_trainer.tui.startup.services import BackgroundServices
from tui_trainer.watch.snapshots import FolderView

PATIENCE = 20.0


class Watcher:
    """A source that hands out what a test gives it."""

    def __init__(self, on_change: Callable[[FolderView], None]) -> None:
        self.tell = on_change
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def watch_others(self, paths: tuple[Path, ...]) -> None:
        pass

    def focus(self, path: Path | None) -> None:
        self.calls.append(f"focus {path}")

    def refresh(self) -> None:
        self.calls.append("refresh")


class Sampler:
    """Says which process it was made for."""

    def __init__(self, pid: int | None, _disk: Path) -> None:
        self.pid = pid

    def sample(self) -> HardwareSample:
        return HardwareSample(time=0.0, run_rss=self.pid)


class Supervisor:
    """Ends engines when a test says so."""

    def __init__(self, on_end: Callable[[EngineEnd], None]) -> None:
        self.end = on_end
        self.left = False

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None: ...
    def attach(self, folder: RunFolder) -> None: ...

    def stop_watching(self) -> None:
        self.left = True


def no_chat(*_: object) -> Any:
    raise AssertionError("no chat is opened here")


def make(post: Callable[[Message], object]) -> tuple[BackgroundServices, Watcher, Supervisor]:
    services = BackgroundServices(
        post, Services(Watcher, Sampler, Supervisor, no_chat), Path("/runs")
    )
    assert isinstance(services.watcher, Watcher) and isinstance(services.supervisor, Supervisor)
    return services, services.watcher, services.supervisor


def test_news_of_threads_become_messages() -> None:
    posted: queue.Queue[Message] = queue.Queue()
    services, watcher, supervisor = make(posted.put)
    services.start()
    first = posted.get(timeout=PATIENCE)
    assert isinstance(first, HardwareSampled) and first.sample.run_rss is None
    services.measure_process(77)
    again = posted.get(timeout=PATIENCE)
    while isinstance(again, HardwareSampled) and again.sample.run_rss is None:
        again = posted.get(timeout=PATIENCE)
    assert isinstance(again, HardwareSampled) and again.sample.run_rss == 77
    services.stop()
    assert watcher.calls == ["start", "stop"] and supervisor.left


def test_nothing_is_posted_after_the_end() -> None:
    posted: list[Message] = []
    services, watcher, supervisor = make(posted.append)
    view = FolderView(Path("/runs"))
    watcher.tell(view)
    supervisor.end(EngineEnd(Path("/runs/a"), "completed", "", 0))
    assert isinstance(posted[0], FolderChanged) and posted[0].view is view
    assert isinstance(posted[1], EngineEnded)
    services.stop()
    watcher.tell(view)
    supervisor.end(EngineEnd(Path("/runs/a"), "completed", "", 0))
    assert len(posted) == 2


def test_a_newer_snapshot_replaces_a_waiting_one_only() -> None:
    view = FolderView(Path("/runs"))
    sample = HardwareSample(time=0.0)
    assert FolderChanged(view).can_replace(FolderChanged(view))
    assert not FolderChanged(view).can_replace(HardwareSampled(sample))
    assert HardwareSampled(sample).can_replace(HardwareSampled(sample))


async def test_a_burst_from_a_thread_collapses_to_the_newest() -> None:
    seen: list[FolderView] = []

    class Small(App[None]):
        def compose(self) -> ComposeResult:
            yield Static()

        def on_folder_changed(self, message: FolderChanged) -> None:
            seen.append(message.view)

    app = Small()
    async with app.run_test() as pilot:
        services, watcher, _ = make(app.post_message)
        views = [FolderView(Path(f"/runs/{number}")) for number in range(500)]
        thread = threading.Thread(target=lambda: [watcher.tell(view) for view in views])
        thread.start()
        thread.join()  # the app's own loop stands still meanwhile: everything waits
        while not seen or seen[-1] is not views[-1]:
            await pilot.pause()
        services.stop()
    assert len(seen) < 50
