"""From other threads to the app: frozen things go in, messages come out, no widget is touched."""

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
    from tui_trainer.contracts.session import Event
    from tui_trainer.hardware.gpu import TimedGpus
    from tui_trainer.repl.session import ChatSession
    from tui_trainer.watch.folder_watcher import FolderWatcher
    from tui_trainer.watch.snapshots import FolderView


def real_services(runs_dir: Path, poll_seconds: float, model: str = "builtin") -> Services:
    """The real watcher, sampler, supervisor and chat for a folder of runs; what they need is
    loaded when they begin."""

    def watcher(on_change: Callable[[FolderView], None]) -> FolderWatcher:
        from tui_trainer.tui.dashboard import screen  # noqa: F401  not by the app's own thread
        from tui_trainer.watch.folder_watcher import FolderWatcher

        return FolderWatcher(runs_dir, on_change, poll_seconds=poll_seconds)

    patient: list[TimedGpus] = []  # one for the whole session

    def sampler(pid: int | None, path: Path) -> HardwareSource:
        from tui_trainer.hardware.gpu import TimedGpus
        from tui_trainer.hardware.sampler import Sampler

        if not patient:
            patient.append(TimedGpus())
        return Sampler(run_pid=pid, disk_path=path, gpus=patient[0])

    def chat(emit: Callable[[Event], None], on_status: Callable[[str], None]) -> ChatSession:
        from tui_trainer.tui.chat.open_session import real_session

        return real_session(model, runs_dir)(emit, on_status)

    def late(on_change: Callable[[FolderView], None]) -> LazyWatcher:
        def failed(reason: str) -> None:
            from tui_trainer.watch.snapshots import FolderView

            on_change(FolderView(root=runs_dir, problem=reason))

        return LazyWatcher(lambda: watcher(on_change), failed)

    return Services(
        watch=late,
        sampler=sampler,
        supervisor=LazySupervisor,
        chat=chat,
    )


class BackgroundServices:
    """Owns the threads behind the screen and turns what they hand out into messages."""

    def __init__(self, post: Post, services: Services, runs_dir: Path) -> None:
        self._post_message = post
        self._open = True
        self.watcher = services.watch(lambda view: self._post(FolderChanged(view)))
        self.supervisor = services.supervisor(lambda end: self._post(EngineEnded(end)))
        self._hardware = HardwareThread(self._post, services.sampler, runs_dir)

    def start(self) -> None:
        """Starts watching; messages come from now on."""
        self.watcher.start()
        self._hardware.start()

    def stop(self) -> None:
        """Ends every thread of ours; engines go on."""
        self._open = False
        self.supervisor.stop_watching()
        self._hardware.stop()
        self.watcher.stop()

    def measure_process(self, pid: int | None) -> None:
        """Has the process of the shown run measured along with the machine."""
        self._hardware.measure_process(pid)

    def _post(self, message: Message) -> None:
        if self._open:
            self._post_message(message)
