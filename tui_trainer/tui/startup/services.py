"""The background services of the app; they post messages and touch no widget."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from textual.message import Message

from tui_trainer.tui.common.background import Post
from tui_trainer.tui.common.protocols import HardwareSource, Services
from tui_trainer.tui.messages import EngineEnded, FolderChanged
from tui_trainer.tui.startup.hardware_thread import HardwareThread
from tui_trainer.tui.startup.lazy_services import LazySupervisor, LazyWatcher

if TYPE_CHECKING:  # what the first paint does without, and monitor without a chat
    from tui_trainer.contracts.advice import AdvisorSettings
    from tui_trainer.contracts.chat.session import Event
    from tui_trainer.hardware.gpu import TimedGpus
    from tui_trainer.repl.session import ChatSession
    from tui_trainer.watch.folder_watcher import FolderWatcher
    from tui_trainer.watch.snapshots import FolderView


def real_services(
    runs_dir: Path,
    poll_seconds: float,
    model: str = "builtin",
    advisor: AdvisorSettings | None = None,
) -> Services:
    """The watcher, sampler, supervisor and chat for a folder of runs; their modules are loaded when
    they start."""

    def watcher(on_change: Callable[[FolderView], None]) -> FolderWatcher:
        from tui_trainer.tui.dashboard import screen  # noqa: F401  not by the app's own thread
        from tui_trainer.watch.folder_watcher import FolderWatcher

        return FolderWatcher(runs_dir, on_change, poll_seconds=poll_seconds, advisor=advisor)

    gpus: list[TimedGpus] = []  # one for the whole session

    def sampler(pid: int | None, path: Path) -> HardwareSource:
        from tui_trainer.hardware.gpu import TimedGpus
        from tui_trainer.hardware.sampler import Sampler

        if not gpus:
            gpus.append(TimedGpus())
        return Sampler(run_pid=pid, disk_path=path, gpus=gpus[0])

    def chat(emit: Callable[[Event], None], on_status: Callable[[str], None]) -> ChatSession:
        from tui_trainer.tui.chat.open_session import real_session

        return real_session(model, runs_dir)(emit, on_status)

    def lazy_watcher(on_change: Callable[[FolderView], None]) -> LazyWatcher:
        def failed(reason: str) -> None:
            from tui_trainer.watch.snapshots import FolderView

            on_change(FolderView(root=runs_dir, problem=reason))

        return LazyWatcher(lambda: watcher(on_change), failed)

    return Services(
        watch=lazy_watcher,
        sampler=sampler,
        supervisor=LazySupervisor,
        chat=chat,
    )


class BackgroundServices:
    """Owns the background threads and posts their results as messages."""

    def __init__(self, post: Post, services: Services, runs_dir: Path) -> None:
        self._post_to_app = post
        self._running = True
        self.watcher = services.watch(lambda view: self._post(FolderChanged(view)))
        self.supervisor = services.supervisor(lambda end: self._post(EngineEnded(end)))
        self._hardware = HardwareThread(self._post, services.sampler, runs_dir)

    def start(self) -> None:
        """Start the threads."""
        self.watcher.start()
        self._hardware.start()

    def stop(self) -> None:
        """Stop the threads; engines keep running."""
        self._running = False
        self.supervisor.stop_watching()
        self._hardware.stop()
        self.watcher.stop()

    def measure_process(self, pid: int | None) -> None:
        """Select the process that is measured along with the hardware."""
        self._hardware.measure_process(pid)

    def _post(self, message: Message) -> None:
        if self._running:
            self._post_to_app(message)
