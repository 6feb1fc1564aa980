"""From other threads to the app: frozen things go in, messages come out, no widget is touched."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from textual.message import Message

from tui_trainer.contracts.errors import reason_of
from tui_trainer.tui.messages import EngineEnded, FolderChanged, HardwareSampled, NoticePosted
from tui_trainer.tui.startup.lazy_services import LazySupervisor, LazyWatcher

if TYPE_CHECKING:  # what the first paint does without, and monitor without a chat
    from tui_trainer.contracts.advice import AdvisorSettings
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.contracts.session import Event
    from tui_trainer.hardware.gpu import TimedGpus
    from tui_trainer.launch.exit_report import EngineEnd
    from tui_trainer.repl.session import ChatSession
    from tui_trainer.store.runs.run_folder import RunFolder
    from tui_trainer.watch.folder_watcher import FolderWatcher
    from tui_trainer.watch.snapshots import FolderView

Post = Callable[[Message], object]
SAMPLE_SECONDS = 2.0
_SETTLE_SECONDS = 0.5  # the charts come first: what samples takes a tenth of a second to load
_FIRST_SECONDS = 0.3  # shares of the processor are known from the second sample on


class OpenSession(Protocol):
    """Makes a chat session that is not started: stores are read, no model is loaded."""

    def __call__(
        self, emit: Callable[[Event], None], on_status: Callable[[str], None], /
    ) -> ChatSession: ...


class RunWatcher(Protocol):
    """What hands out snapshots of a folder from a thread of its own."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def focus(self, path: Path | None) -> None: ...
    def also(self, paths: tuple[Path, ...]) -> None: ...
    def refresh(self) -> None: ...


class HardwareSource(Protocol):
    """What looks at the machine."""

    def sample(self) -> HardwareSample: ...


class EngineSupervisor(Protocol):
    """What starts engines and stands by them."""

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None: ...
    def attach(self, folder: RunFolder) -> None: ...
    def stop_watching(self) -> None: ...


@dataclass(frozen=True)
class Services:
    """How the app reaches the world; tests put fakes in."""

    watch: Callable[[Callable[[FolderView], None]], RunWatcher]
    sampler: Callable[[int | None, Path], HardwareSource]
    supervisor: Callable[[Callable[[EngineEnd], None]], EngineSupervisor]
    chat: OpenSession


def real_services(
    runs_dir: Path,
    poll_seconds: float,
    model: str = "builtin",
    advisor: AdvisorSettings | None = None,
) -> Services:
    """The real watcher, sampler, supervisor and chat for a folder of runs; what they need is
    loaded when they begin."""

    def watcher(on_change: Callable[[FolderView], None]) -> FolderWatcher:
        from tui_trainer.tui.dashboard import screen  # noqa: F401  not by the app's own thread
        from tui_trainer.watch.folder_watcher import FolderWatcher

        return FolderWatcher(runs_dir, on_change, poll_seconds=poll_seconds, advisor=advisor)

    patient: list[TimedGpus] = []  # one for the whole session

    def sampler(pid: int | None, path: Path) -> HardwareSource:
        from tui_trainer.hardware.gpu import TimedGpus
        from tui_trainer.hardware.sampler import Sampler

        if not patient:
            patient.append(TimedGpus())
        return Sampler(run_pid=pid, disk_path=path, gpus=patient[0])

    def chat(emit: Callable[[Event], None], on_status: Callable[[str], None]) -> ChatSession:
        from tui_trainer.tui.chat.session_thread import real_session

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


class ServiceBridge:
    """Owns the threads behind the screen and turns what they hand out into messages."""

    def __init__(self, post: Post, services: Services, runs_dir: Path) -> None:
        self._post_message = post
        self._open = True
        self.watcher = services.watch(lambda view: self._post(FolderChanged(view)))
        self.supervisor = services.supervisor(lambda end: self._post(EngineEnded(end)))
        self._machine = HardwareThread(self._post, services.sampler, runs_dir)

    def start(self) -> None:
        """Starts watching; messages come from now on."""
        self.watcher.start()
        self._machine.start()

    def stop(self) -> None:
        """Ends every thread of ours; engines go on."""
        self._open = False
        self.supervisor.stop_watching()
        self._machine.stop()
        self.watcher.stop()

    def look_at(self, pid: int | None) -> None:
        """Has the process of the shown run measured along with the machine."""
        self._machine.look_at(pid)

    def _post(self, message: Message) -> None:
        if self._open:
            self._post_message(message)


class HardwareThread:
    """Samples the machine every `SAMPLE_SECONDS` in a thread, so that a slow driver call
    cannot hold up the screen."""

    def __init__(
        self, post: Post, make: Callable[[int | None, Path], HardwareSource], disk: Path
    ) -> None:
        self._post = post
        self._make = make
        self._disk = disk
        self._pid: int | None = None
        self._left = threading.Event()
        self._wake = threading.Event()

    def start(self) -> None:
        """Starts the thread."""
        threading.Thread(target=self._run, name="machine", daemon=True).start()

    def stop(self) -> None:
        """Ends the thread after the sample at hand; does not wait for it."""
        self._left.set()
        self._wake.set()

    def look_at(self, pid: int | None) -> None:
        """Changes the process that is measured as the run's own."""
        if pid != self._pid:
            self._pid = pid
            self._wake.set()

    def _run(self) -> None:
        if self._left.wait(_SETTLE_SECONDS):
            return
        pid = self._pid
        sampler = self._make(pid, self._disk)
        first, failed = True, ""
        while not self._left.is_set():
            if pid != self._pid:
                pid = self._pid
                sampler = self._make(pid, self._disk)
                first = True
            try:
                self._post(HardwareSampled(sampler.sample()))
                failed = ""
            except Exception as error:  # the panel keeps what it shows, and the thread goes on
                if failed != (failed := reason_of(error)):
                    self._post(NoticePosted(f"the machine cannot be measured: {failed}", "warning"))
            self._wake.wait(_FIRST_SECONDS if first else SAMPLE_SECONDS)
            first = False
            self._wake.clear()


def in_background(name: str, work: Callable[[], object]) -> None:
    """Runs `work` in a daemon thread: leaving the app does not wait for it, as it would for
    asyncio's own pool."""
    threading.Thread(target=work, name=name, daemon=True).start()
