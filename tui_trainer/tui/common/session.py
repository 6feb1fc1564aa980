"""The app as screens and their helpers see it."""

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


class AppSession(Protocol):
    """One full-screen session over one folder of runs.

    `template` is the job that the form for a new run is to be filled from, once. `overlay` are
    the runs marked to be shown together, `samples` the newest samples of the hardware.
    """

    settings: Settings
    runs_dir: Path
    monitor_only: bool
    keymap: Keymap
    themes: Themes
    marks: Marks
    samples: tuple[HardwareSample, ...]
    overlay: tuple[Path, ...]
    focus_path: Path | None
    template: Job | None

    # -- what it shows --------------------------------------------------------------------------

    @property
    def view(self) -> FolderView: ...
    @property
    def palette(self) -> Palette: ...
    def shown_run(self) -> RunSummary | None: ...
    def runs_here(self, run: RunView | None) -> bool: ...
    def resume_hint(self, run: RunSummary) -> str: ...
    def tabs(self) -> tuple[tuple[str, str, str], ...]: ...
    def offers(self, key: Key) -> bool: ...

    # -- what it is asked to do -----------------------------------------------------------------

    @property
    def engines(self) -> SessionEngines: ...
    def farewell(self) -> str | None: ...
    def begin(self) -> None: ...
    def show_notice(self, text: str, severity: Severity = "information") -> None: ...
    def refresh_chat(self) -> None: ...
    def focus_run(self, path: Path | None) -> None: ...
    def toggle_overlay(self, path: Path) -> None: ...
    def action_show(self, screen: str) -> None: ...
    async def action_quit(self) -> None: ...

    # -- Textual's own --------------------------------------------------------------------------

    @property
    def theme(self) -> str: ...
    @property
    def screen(self) -> Screen[object]: ...
    @property
    def current_mode(self) -> str: ...
    @property
    def is_running(self) -> bool: ...
    def push_screen(
        self, screen: Screen[Result], callback: Callable[[Result | None], None] | None = None
    ) -> object: ...
    def post_message(self, message: Message) -> bool: ...
    def set_timer(self, delay: float, callback: Callable[[], None] | None = None) -> Timer: ...
    def call_later(self, callback: Callable[..., Any]) -> bool: ...
    def exit(
        self, result: int | None = None, return_code: int = 0, message: Any = None
    ) -> None: ...


def session_of(app: App[Any]) -> AppSession:
    """The app by what screens may ask of it."""
    return cast("AppSession", app)
