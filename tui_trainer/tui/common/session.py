"""The parts of the app that screens and their helpers use, as protocols."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from textual.app import App
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer

from tui_trainer.tui.keymap import Key, Keymap
from tui_trainer.tui.messages import Severity

if TYPE_CHECKING:  # numpy and what needs it come after the first paint
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.contracts.job import Job
    from tui_trainer.contracts.settings import Settings
    from tui_trainer.tui.charts.model import Marks, Palette
    from tui_trainer.tui.common.protocols import SessionEngines
    from tui_trainer.tui.themes import Themes
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

Result = TypeVar("Result")


class NoticeHost(Protocol):
    """Shows notices."""

    def show_notice(self, text: str, severity: Severity = "information") -> None: ...


class DialogHost(Protocol):
    """Shows dialogs; `callback` receives the result."""

    def push_screen(
        self, screen: Screen[Result], callback: Callable[[Result | None], None] | None = None
    ) -> object: ...


class MessageHost(Protocol):
    """Receives messages from any thread."""

    def post_message(self, message: Message) -> bool: ...


class TimerHost(Protocol):
    """Calls functions later in the app's thread; `delay` in seconds."""

    def set_timer(self, delay: float, callback: Callable[[], None] | None = None) -> Timer: ...


class AppSession(NoticeHost, DialogHost, MessageHost, Protocol):
    """One full-screen session over one folder of runs, as screens see it."""

    settings: Settings
    runs_dir: Path
    monitor_only: bool
    keymap: Keymap
    themes: Themes
    marks: Marks
    samples: tuple[HardwareSample, ...]  # the newest ones, oldest first
    overlay: tuple[Path, ...]  # the runs marked to be shown together
    focus_path: Path | None  # the run on the dashboard
    template: Job | None  # the job that the form for a new run is filled from, once

    # -- state --------------------------------------------------------------------------------

    @property
    def view(self) -> FolderView: ...
    @property
    def palette(self) -> Palette: ...
    @property
    def engines(self) -> SessionEngines: ...
    @property
    def theme(self) -> str: ...
    def shown_run(self) -> RunSummary | None: ...
    def runs_here(self, run: RunView | None) -> bool: ...
    def resume_hint(self, run: RunSummary) -> str: ...
    def offers(self, key: Key) -> bool: ...

    # -- actions ------------------------------------------------------------------------------

    def begin(self) -> None: ...
    def focus_run(self, path: Path | None) -> None: ...
    def toggle_overlay(self, path: Path) -> None: ...
    def action_show(self, screen: str) -> None: ...


def session_of(app: App[Any]) -> AppSession:
    """The app, as its screens see it."""
    return cast("AppSession", app)
