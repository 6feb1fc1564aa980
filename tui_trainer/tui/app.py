"""The full-screen session: wiring only."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import App, SystemCommand
from textual.filter import LineFilter
from textual.screen import Screen
from textual.timer import Timer

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.contracts.settings import Settings
from tui_trainer.tui import commands, glyphs, keymap, themes
from tui_trainer.tui.bridge import Bridge, Services, real_services
from tui_trainer.tui.charts.model import Palette
from tui_trainer.tui.charts.text import clean
from tui_trainer.tui.chatting import Chatting
from tui_trainer.tui.fleet import Fleet
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.messages import (
    ChatSpoke,
    EngineEnded,
    FolderChanged,
    MachineSampled,
    Noticed,
    RunMade,
    Severity,
    StopsAnswered,
)
from tui_trainer.tui.orders import Orders
from tui_trainer.tui.screens.dashboard import Dashboard
from tui_trainer.tui.screens.help import Help
from tui_trainer.tui.screens.new_run import NewRun
from tui_trainer.tui.screens.page import Page
from tui_trainer.tui.screens.runs import Runs
from tui_trainer.tui.terminal import TerminalGuard
from tui_trainer.watch.view import FolderView, RunSummary, RunView

_TABS = (("show_dashboard", "Dashboard", "dashboard"), ("show_runs", "Runs", "runs"))
_MORE_TABS = (
    ("show_chat", "Chat", "chat"),
    ("show_adapters", "Adapters", "adapters"),
    ("show_new", "New run", "new"),
)
# What monitor leaves out.
_SESSION_KEYS = frozenset(
    {"new_run", "show_new", "resume_run", "show_chat", "show_adapters", "adopt"}
)
_SAMPLES_KEPT = 60
_FRAME_SECONDS = 0.09  # at most eleven times a second: a faster run costs no more to watch
MONITOR_ONLY = "monitor watches and steers only; start tui-trainer without monitor to train"


def _chat_screen() -> Page:
    from tui_trainer.tui.screens.chat import Chat  # loaded when it is looked at

    return Chat()


def _adapters_screen() -> Page:
    from tui_trainer.tui.screens.adapters import Adapters

    return Adapters()


class TrainerApp(App[int]):
    """One session over one folder of runs."""

    TITLE = "tui-trainer"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar = keymap.bindings("app")
    MODES: ClassVar = {
        "dashboard": Dashboard,
        "runs": Runs,
        "chat": _chat_screen,
        "adapters": _adapters_screen,
        "new": NewRun,
    }
    DEFAULT_MODE = "dashboard"
    NOTIFICATION_TIMEOUT = 6

    def __init__(
        self,
        runs_dir: Path,
        *,
        settings: Settings,
        services: Services,
        focus: Path | None = None,
        monitor_only: bool = False,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.runs_dir = runs_dir = runs_dir.expanduser().absolute()
        self.monitor_only = monitor_only
        self.view = FolderView(runs_dir, loading=True)
        self.focus_path = focus = focus and focus.expanduser().absolute()
        self.keymap = keymap.make_keymap(settings.keys)
        self.themes = themes.load_themes()
        self.marks = glyphs.chart_marks(settings.charts)
        self.samples: tuple[HardwareSample, ...] = ()
        self.bridge = Bridge(self.post_message, services, runs_dir)
        self.fleet = Fleet(self.bridge.supervisor, focus if not monitor_only else None)
        self.orders = Orders(self)
        self.chatting = Chatting(self, services.chat)
        self._filters_added = [] if glyphs.locale_has_unicode() else [glyphs.PlainCharacters()]
        self._guard = TerminalGuard(self.exit)
        self._told: set[str] = set()
        self._shown_at = 0.0
        self._frame: Timer | None = None
        self._dress()

    # -- life ---------------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.set_keymap(dict(self.keymap.overrides))
        self.theme_changed_signal.subscribe(self, lambda _theme: self._recolour())
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))
        for problem in (*self.themes.problems, *self.keymap.problems):
            self.tell(problem, "warning")
        if self.focus_path is not None:
            self.bridge.watcher.focus(self.focus_path)
        self.bridge.start()
        self._guard.start()
        if not self.monitor_only:
            self.chatting.open_later()

    def on_unmount(self) -> None:
        self.chatting.close()
        self.bridge.stop()
        self._guard.stop()

    def get_line_filters(self) -> Sequence[LineFilter]:
        return [*super().get_line_filters(), *self._filters_added]

    # -- what other threads told ----------------------------------------------------------------

    @on(FolderChanged)
    def _take_view(self, message: FolderChanged) -> None:
        view = self.view = message.view
        if view.focused is not None and wants_another(view, self.focus_path):
            self.look_at(view.focused.summary.path)
        self._tell_once(view.oddities)
        self.fleet.attach_to_live(view.runs)
        self.bridge.look_at(local_process(view.focused))
        self._show_soon()

    @on(MachineSampled)
    def _take_sample(self, message: MachineSampled) -> None:
        self.samples = (*self.samples, message.sample)[-_SAMPLES_KEPT:]
        for page in self._pages():
            if isinstance(page, Dashboard) and page.is_mounted:  # it may come before the panes
                page.take_machine(self.samples)

    @on(EngineEnded)
    def _take_end(self, message: EngineEnded) -> None:
        end = message.end
        self.fleet.ended(end)
        if self.chatting.teaches(end.path):
            return  # the teaching tells how it ends
        self.bell()
        failed = end.status in ("failed", "crashed")
        self.tell(self.fleet.describe(end, self.view.runs), "error" if failed else "information")
        self.bridge.watcher.refresh()

    @on(RunMade)
    def _take_run(self, message: RunMade) -> None:
        self.fleet.start(message.folder)
        self.look_at(message.folder.path)
        self.action_show("dashboard")

    @on(ChatSpoke)
    def _take_chat(self) -> None:
        self.chatting.spoke()

    @on(Noticed)
    def _take_notice(self, message: Noticed) -> None:
        self.tell(message.text, message.severity)

    @on(StopsAnswered)
    def _leave_stopped(self) -> None:
        self.exit(0)

    # -- what screens ask ------------------------------------------------------------------------

    def tell(self, text: str, severity: Severity = "information") -> None:
        """Shows a notice; text from files is cleaned and never read as markup."""
        self.notify(clean(text), severity=severity, markup=False)

    def show_talk(self) -> None:
        """Brings what shows the chat up to date."""
        for page in self._pages():
            if page.is_mounted:
                page.show_talk()

    def look_at(self, path: Path | None) -> None:
        """Chooses the run that the dashboard shows."""
        if path != self.focus_path:
            self.focus_path = path
            self.bridge.watcher.focus(path)

    def shown_run(self) -> RunSummary | None:
        """The run on the dashboard, as the newest snapshot knows it."""
        return next((run for run in self.view.runs if run.path == self.focus_path), None)

    def tabs(self) -> tuple[tuple[str, str, str], ...]:
        """Key, title and screen of each tab."""
        tabs = _TABS if self.monitor_only else (*_TABS, *_MORE_TABS)
        keys = {key.id: key for key in keymap.KEYS}
        return tuple((self.keymap.shown(keys[id]), title, screen) for id, title, screen in tabs)

    def offers(self, key: Key) -> bool:
        """Whether a key is of use in this session."""
        return not (self.monitor_only and key.id in _SESSION_KEYS)

    def resume_hint(self, run: RunSummary) -> str:
        """How an ended run is carried on, in a few words."""
        if self.monitor_only:
            return f"tui-trainer resume {clean(str(run.path))} carries it on"
        key = next(key for key in keymap.KEYS if key.id == "resume_run")
        return f"{self.keymap.shown(key)} carries it on from its last checkpoint"

    @property
    def palette(self) -> Palette:
        """The charts' colours in the present theme."""
        return themes.chart_palette(self.themes.files[self.theme])

    # -- keys ------------------------------------------------------------------------------------

    def action_show(self, screen: str) -> None:
        if self.monitor_only and screen in (tab[2] for tab in _MORE_TABS):
            self.tell(MONITOR_ONLY, "warning")
        elif screen != self.current_mode:
            self.switch_mode(screen)

    def action_step_back(self) -> None:
        page = self.screen
        if isinstance(page, Page) and not page.step_back():
            self.action_show("dashboard")

    def action_refresh_now(self) -> None:
        self.bridge.watcher.refresh()
        self.show_talk()
        self.tell("reading the folder again")

    def action_help(self) -> None:
        place = self.screen.place if isinstance(self.screen, Page) else ""
        self.push_screen(Help(place, self.keymap, self.offers))

    def action_pause(self) -> None:
        self.orders.pause()

    def action_checkpoint(self) -> None:
        self.orders.checkpoint()

    def action_stop(self) -> None:
        self.orders.stop()

    def action_set_rate(self) -> None:
        self.orders.set_rate()

    def action_resume_run(self) -> None:
        self.orders.resume_run()

    def action_adopt(self) -> None:
        self.orders.adopt()

    def action_details(self) -> None:
        self.orders.details()

    async def action_quit(self) -> None:
        self.orders.leave()

    async def action_help_quit(self) -> None:  # type: ignore[override]
        self.orders.leave()

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        return commands.system_commands(self, screen)

    # -- within ----------------------------------------------------------------------------------

    def _pages(self) -> list[Page]:
        return [screen for screen in self.screen_stack if isinstance(screen, Page)]

    def _show_soon(self) -> None:
        """Shows the newest snapshot: at once, or when the last one has stood for a frame."""
        wait = _FRAME_SECONDS - (time.monotonic() - self._shown_at)
        if wait <= 0:
            self._show_everywhere()
        elif self._frame is None:
            self._frame = self.set_timer(wait, self._show_everywhere)

    def _show_everywhere(self) -> None:
        self._shown_at, self._frame = time.monotonic(), None
        for page in self._pages():
            page.refresh_all()

    def _tell_once(self, oddities: tuple[str, ...]) -> None:
        for oddity in oddities:
            if oddity not in self._told:
                self._told.add(oddity)
                self.tell(oddity, "warning")

    def _dress(self) -> None:
        """Registers the palettes and puts on the chosen one."""
        for file in self.themes.files.values():
            self.register_theme(themes.textual_theme(file))
        wanted = self.settings.theme
        self.theme = wanted if wanted in self.themes.files else next(iter(self.themes.files))

    def _recolour(self) -> None:
        for stack in self._screen_stacks.values():
            for screen in stack:
                if isinstance(screen, Dashboard | NewRun) and screen.is_mounted:
                    screen.use_theme()
        self._show_everywhere()


def wants_another(view: FolderView, path: Path | None) -> bool:
    """Whether no run was chosen yet, or the chosen one was removed from the disk."""
    if path is None:
        return True
    return path not in {run.path for run in view.runs} and not path.exists()


def local_process(run: RunView | None) -> int | None:
    """The process of a run that works on this machine."""
    state = run.state if run is not None and run.summary.status in ACTIVE_STATES else None
    return state.pid if state is not None and state.host in (None, socket.gethostname()) else None


def run_app(
    runs_dir: Path,
    *,
    focus: Path | None = None,
    monitor_only: bool = False,
    settings: Settings,
) -> int:
    """Runs the full-screen session until it is left; gives its exit status.

    `focus` is the run to show first. Raises `UserError` where there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("the full-screen session needs a terminal; see --headless and --json")
    services = real_services(runs_dir, settings.refresh_seconds)
    app = TrainerApp(
        runs_dir, settings=settings, services=services, focus=focus, monitor_only=monitor_only
    )
    status = app.run()
    return 1 if status is None else status
