"""The full-screen session: wiring only."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.terminal_theme import TerminalTheme
from textual import on
from textual.app import SystemCommand
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter, Monochrome
from textual.screen import Screen
from textual.timer import Timer

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.store.runs import process_identity
from tui_trainer.text.formats import clean
from tui_trainer.tui import command_palette, keymap, themes
from tui_trainer.tui.common.markup import unbroken
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.keymap import Key
from tui_trainer.tui.messages import (
    ChatNewsPosted,
    EngineEnded,
    FolderChanged,
    HardwareSampled,
    NoticePosted,
    RunMade,
    Severity,
    StopsAcknowledged,
    TerminalSignal,
)
from tui_trainer.tui.notifications import ScreenNotifier
from tui_trainer.tui.run_control.engines import Engines
from tui_trainer.tui.startup import ascii_fallback, gc_pause
from tui_trainer.tui.startup.cached_stylesheet import CachedStylesheet
from tui_trainer.tui.startup.monochrome import GreyFilter, no_color_wanted
from tui_trainer.tui.startup.screens import MODES
from tui_trainer.tui.startup.services import ServiceBridge, Services, real_services
from tui_trainer.tui.startup.terminal_guard import TerminalGuard
from tui_trainer.tui.steered import SteeredApp

if TYPE_CHECKING:  # numpy and what needs it come after the first paint
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.contracts.settings import Settings
    from tui_trainer.tui.charts.model import Palette
    from tui_trainer.tui.chat.controller import ChatController
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

_TABS = (("show_dashboard", "Dashboard", "dashboard"), ("show_runs", "Runs", "runs"))
_MORE_TABS = (
    ("show_chat", "Chat", "chat"),
    ("show_adapters", "Adapters", "adapters"),
    ("show_new", "New run", "new"),
)
# What monitor leaves out.
_SESSION_KEYS = frozenset(
    {"new_run", "show_new", "again", "resume_run", "show_chat", "show_adapters", "adopt"}
)
_SAMPLES_KEPT = 600  # of the machine while nothing is recorded: 20 minutes
MOST_MARKED = 8  # runs that are read whole beside the one on the dashboard
# The watcher holds streams of rows to a pace; this is for what others may post.
_FRAME_SECONDS = 0.03
_STARTED_SECONDS = 5.0  # the start is over by then, however long a folder takes
_LOADING_SECONDS = 0.2  # every frame of a run that is being read draws its charts anew
_NOT_USED = (ANSIToTruecolor, Monochrome)  # Textual's filters; see `get_line_filters`
_NOTICE_WIDTH = 69  # cells of a notice's text, as the stylesheet has it
_NOTICE_EDGE = 4  # its border and padding, and the scrollbar beside it
MONITOR_ONLY = "monitor watches and steers only; start tui-trainer without monitor to train"


class TrainerApp(SteeredApp):
    """One session over one folder of runs."""

    TITLE = "tui-trainer"
    CSS_PATH = "app.tcss"
    BINDINGS: ClassVar = keymap.bindings("app")
    MODES: ClassVar = dict(MODES)
    DEFAULT_MODE = "opening"
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
        self.stylesheet = CachedStylesheet(variables=self.get_css_variables())
        self.settings = settings
        self.runs_dir = runs_dir = runs_dir.expanduser().absolute()
        self.monitor_only = monitor_only
        self._view: FolderView | None = None
        self.focus_path = focus = focus and focus.expanduser().absolute()
        self.overlay: tuple[Path, ...] = ()  # runs marked to be shown together
        self.keymap = keymap.make_keymap(settings.keys)
        self.themes = themes.load_themes()
        self.marks = ascii_fallback.chart_marks(settings.charts)
        self.samples: tuple[HardwareSample, ...] = ()
        self.bridge = ServiceBridge(self.post_message, services, runs_dir)
        self.fleet = Engines(self.bridge.supervisor, focus if not monitor_only else None)
        self._services = services
        self.no_color = no_color_wanted()
        self._filters_added: list[LineFilter] = [GreyFilter()] if self.no_color else []
        if not ascii_fallback.locale_has_unicode():
            self._filters_added.append(ascii_fallback.AsciiFallback())
        self._guard = TerminalGuard(self.exit)
        self.alarm = ScreenNotifier(self)
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
        self._guard.start()

    def begin(self) -> None:
        """Starts everything behind the screen: called once the first paint stands."""
        self.bridge.start()
        self.set_timer(_STARTED_SECONDS, gc_pause.release)
        if not self.monitor_only:
            self.chatting.open_later()

    def on_unmount(self) -> None:
        if "chatting" in vars(self):
            self.chatting.close()
        self.bridge.stop()
        self._guard.stop()

    @property
    def ansi_theme(self) -> TerminalTheme:
        """Asked for with every line drawn, and of no use to true colours."""
        return self.ansi_theme_dark

    def get_line_filters(self) -> Sequence[LineFilter]:
        # Our colours are true ones already; looking at each again was a third of every repaint.
        own = [kept for kept in super().get_line_filters() if not isinstance(kept, _NOT_USED)]
        return [*own, *self._filters_added]

    # -- what other threads told ----------------------------------------------------------------

    @on(FolderChanged)
    def _take_view(self, message: FolderChanged) -> None:
        view = self._view = message.view
        if self.current_mode == "opening":
            self.switch_mode("dashboard")
        if view.focused is not None and wants_another(view, self.focus_path):
            self.look_at(view.focused.summary.path)
        self._tell_once(view.oddities)
        self.fleet.attach_to_live(view.runs)
        self.alarm.take(view)
        self.bridge.look_at(local_process(view.focused))
        self._show_soon()

    @on(HardwareSampled)
    def _take_sample(self, message: HardwareSampled) -> None:
        self.samples = (*self.samples, message.sample)[-_SAMPLES_KEPT:]
        for page in self._pages():
            if page.is_mounted:  # it may come before the panes
                page.take_machine(self.samples)

    @on(EngineEnded)
    def _take_end(self, message: EngineEnded) -> None:
        end = message.end
        self.fleet.ended(end)
        if self.chatting.teaches(end.path):
            return  # the teaching tells how it ends
        failed = end.refused or end.status in ("failed", "crashed")
        self.tell(self.fleet.describe(end, self.view.runs), "error" if failed else "information")
        self.bridge.watcher.refresh()

    @on(RunMade)
    def _take_run(self, message: RunMade) -> None:
        self.fleet.start(message.folder)
        self.look_at(message.folder.path)
        self.action_show("dashboard")

    @on(ChatNewsPosted)
    def _take_chat(self) -> None:
        self.chatting.spoke()

    @on(TerminalSignal)
    def _ring(self, message: TerminalSignal) -> None:
        if self._driver is not None:
            self._driver.write(message.sequences)
            self._driver.flush()

    @on(NoticePosted)
    def _take_notice(self, message: NoticePosted) -> None:
        self.tell(message.text, message.severity)

    @on(StopsAcknowledged)
    def _leave_stopped(self) -> None:
        self.exit(0)

    # -- what screens ask ------------------------------------------------------------------------

    def tell(self, text: str, severity: Severity = "information") -> None:
        """Shows a notice; text from files is cleaned and never read as markup."""
        words = unbroken(Content(clean(text)), min(_NOTICE_WIDTH, self.size.width - _NOTICE_EDGE))
        self.notify(words.plain, severity=severity, markup=False)

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

    def toggle_overlay(self, path: Path) -> None:
        """Marks a run to be shown together with others, or takes the mark back."""
        if path in self.overlay:
            self.overlay = tuple(other for other in self.overlay if other != path)
        elif len(self.overlay) == MOST_MARKED:
            self.tell(f"{MOST_MARKED} runs are marked; take a mark back first", "warning")
            return
        else:
            self.overlay = (*self.overlay, path)
        self.bridge.watcher.also(self.overlay)

    def shown_run(self) -> RunSummary | None:
        """The run on the dashboard, as the newest snapshot knows it."""
        runs = self._view.runs if self._view is not None else ()
        return next((run for run in runs if run.path == self.focus_path), None)

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
        if not run.ours:
            return f"only its own program ({clean(run.tool)}) can carry it on"
        if self.monitor_only:
            return f"tui-trainer resume {clean(str(run.path))} carries it on"
        key = next(key for key in keymap.KEYS if key.id == "resume_run")
        return f"{self.keymap.shown(key)} carries it on from its last checkpoint"

    @cached_property
    def chatting(self) -> ChatController:
        """The session's chat."""
        from tui_trainer.tui.chat.controller import ChatController

        return ChatController(self, self._services.chat)

    @property
    def view(self) -> FolderView:
        """The newest snapshot of the folder."""
        if self._view is None:
            from tui_trainer.watch.snapshots import FolderView

            self._view = FolderView(self.runs_dir, loading=True)
        return self._view

    @property
    def palette(self) -> Palette:
        """The charts' colours in the present theme."""
        return themes.chart_palette(self.themes.files[self.theme])

    def runs_here(self, run: RunView | None) -> bool:
        """Whether the run works on this machine now."""
        return local_process(run) is not None

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
        from tui_trainer.tui.common.help_screen import HelpScreen

        place = self.screen.place if isinstance(self.screen, Page) else ""
        self.push_screen(HelpScreen(place, self.keymap, self.offers))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        return command_palette.system_commands(self, screen)

    # -- within ----------------------------------------------------------------------------------

    def _pages(self) -> list[Page]:
        return [screen for screen in self.screen_stack if isinstance(screen, Page)]

    def _show_soon(self) -> None:
        """Shows the newest snapshot: at once, or when the last one has stood for a frame."""
        least = _LOADING_SECONDS if self.view.loading else _FRAME_SECONDS
        wait = least - (time.monotonic() - self._shown_at)
        if wait <= 0:
            if self._frame is not None:
                self._frame.stop()
            self._show_everywhere()
        elif self._frame is None:
            self._frame = self.set_timer(wait, self._show_everywhere)

    def _show_everywhere(self) -> None:
        self._shown_at, self._frame = time.monotonic(), None
        for page in self._pages():
            page.refresh_all()
        if not self.view.loading:
            self.call_after_refresh(gc_pause.release)

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
                if isinstance(screen, Page) and screen.is_mounted:
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
    return state.pid if state is not None and process_identity.is_here(state) else None


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
    services = real_services(runs_dir, settings.refresh_seconds, settings.model, settings.advisor)
    app = TrainerApp(
        runs_dir, settings=settings, services=services, focus=focus, monitor_only=monitor_only
    )
    status = app.run()
    app.alarm.close()
    return 1 if status is None else status
