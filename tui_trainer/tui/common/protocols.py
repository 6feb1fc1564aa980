"""The services that the app is given; tests pass fakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # loaded after the first paint; `monitor` never loads a chat
    from tui_trainer.contracts.chat.session import Event
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.launch.exit_report import EngineEnd
    from tui_trainer.repl.session import ChatSession
    from tui_trainer.store.runs.run_folder import RunFolder
    from tui_trainer.watch.snapshots import FolderView


class OpenSession(Protocol):
    """Creates a chat session: stores are read, no model is loaded yet."""

    def __call__(
        self, emit: Callable[[Event], None], on_status: Callable[[str], None], /
    ) -> ChatSession: ...


class RunWatcher(Protocol):
    """Reads a folder of runs in a thread of its own and publishes snapshots of it."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def focus(self, path: Path | None) -> None: ...
    def watch_others(self, paths: tuple[Path, ...]) -> None: ...
    def refresh(self) -> None: ...


class HardwareSource(Protocol):
    """Samples the hardware."""

    def sample(self) -> HardwareSample: ...


class SessionEngines(Protocol):
    """The engines that this session started or follows."""

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None: ...
    def training(self) -> list[RunFolder]: ...
    def has_started(self, path: Path) -> bool: ...
    def reports_end(self, path: Path) -> bool: ...


class EngineSupervisor(Protocol):
    """Starts and supervises engines."""

    def start(
        self, folder: RunFolder, from_checkpoint: str | None = None, rate: float | None = None
    ) -> None: ...
    def attach(self, folder: RunFolder) -> None: ...
    def stop_watching(self) -> None: ...


@dataclass(frozen=True)
class Services:
    """Functions that create the services."""

    watch: Callable[[Callable[[FolderView], None]], RunWatcher]
    sampler: Callable[[int | None, Path], HardwareSource]
    supervisor: Callable[[Callable[[EngineEnd], None]], EngineSupervisor]
    chat: OpenSession
