"""The Textual app of the full-screen session: it connects services, screens and keys."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rich.terminal_theme import TerminalTheme
from textual import on
from textual.app import App, SystemCommand
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter, Monochrome
from textual.screen import Screen
from textual.timer import Timer

from tui_trainer.text.formats import clean
from tui_trainer.tui import command_palette, keymap, themes
from tui_trainer.tui.common.markup import unbroken
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.protocols import Services
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
from tui_trainer.tui.run_control.engines import Engines, local_process
from tui_trainer.tui.startup import ascii_fallback, gc_pause
from tui_trainer.tui.startup.cached_stylesheet import CachedStylesheet
from tui_trainer.tui.startup.monochrome import GreyFilter, no_color_wanted
from tui_trainer.tui.startup.screens import MODES
from tui_trainer.tui.startup.services import BackgroundServices
from tui_trainer.tui.startup.terminal_guard import TerminalGuard

if TYPE_CHECKING:  # numpy and what needs it come after the first paint
    from tui_trainer.contracts.hardware import HardwareSample
    from tui_trainer.contracts.job import Job
    from tui_trainer.contracts.settings import Settings
    from tui_trainer.tui.charts.model import Palette
    from tui_trainer.tui.chat.controller import ChatController
    from tui_trainer.tui.run_control.actions import RunActions
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

_SAMPLES_KEPT = 600  # hardware samples, every 2 s: 20 minutes
MOST_MARKED = 8  # runs that can be marked; each is read completely
_FRAME_SECONDS = 0.03  # between two frames; the watcher limits its rate of snapshots itself
_STARTED_SECONDS = 5.0  # start-up has ended by then, however large the folder is
_LOADING_SECONDS = 0.2  # between two frames while a run is read: each redraws its charts
_UNUSED_FILTERS = (ANSIToTruecolor, Monochrome)  # Textual's; see `get_line_filters`
_NOTICE_WIDTH = 69  # width of a notice's text in cells, as in the stylesheet
_NOTICE_EDGE = 4  # its border and padding, and the scrollbar beside it
MONITOR_ONLY = "monitor only shows and controls runs; start tui-trainer for this screen"


class TrainerApp(App[int]):
    """One full-screen session over one folder of runs."""

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
        self.next_folder: Path | None = None  # where the next session begins after this one
        self._view: FolderView | None = None
        self.focus_path = focus = focus and focus.expanduser().absolute()
        self.template: Job | None = None
        self.overlay: tuple[Path, ...] = ()
        self.keymap = keymap.make_keymap(settings.keys)
        self.themes = themes.load_themes()
        self.marks = ascii_fallback.chart_marks(settings.charts)
        self.samples: tuple[HardwareSample, ...] = ()
        self.services = BackgroundServices(self.post_message, services, runs_dir)
        self.engines = Engines(self.services.supervisor, focus if not monitor_only else None)
        self._factories = services
        self.no_color = no_color_wanted()
        self._filters_added: list[LineFilter] = [GreyFilter()] if self.no_color else []
        if not ascii_fallback.locale_has_unicode():
            self._filters_added.append(ascii_fallback.AsciiFallback())
        self._guard = TerminalGuard(self.exit)
        self.notifier = ScreenNotifier(self, self._is_chat_training)
        self._shown_warnings: set[str] = set()
        self._shown_at = 0.0
        self._frame: Timer | None = None
        self._use_themes()

    # -- start and end ------------------------------------------------------------------------

    def on_mount(self) -> None:
        self.set_keymap(dict(self.keymap.overrides))
        self.theme_changed_signal.subscribe(self, lambda _theme: self._recolour())
        self.app_resume_signal.subscribe(self, lambda _app: self.refresh(layout=True))
        unknown = themes.name_problems(self.settings.theme, self.themes)
        for problem in (*self.themes.problems, *unknown, *self.keymap.problems):
            self.show_notice(problem, "warning")
        if self.focus_path is not None:
            self.services.watcher.focus(self.focus_path)
        self._guard.start()

    def begin(self) -> None:
        """Start the background services: called after the first paint."""
        self.services.start()
        self.set_timer(_STARTED_SECONDS, gc_pause.resume)
        if not self.monitor_only:
            self.chat.open_later()

    def on_unmount(self) -> None:
        if "chat" in vars(self):  # it was opened
            self.chat.close()
        self.services.stop()
        self._guard.stop()

    @property
    def ansi_theme(self) -> TerminalTheme:
        """The colours of the terminal, which are not needed with true colours; Textual reads this
        for every line that it draws."""
        return self.ansi_theme_dark

    def get_line_filters(self) -> Sequence[LineFilter]:
        # Our colours are true colours already; these filters took a third of every repaint.
        own = [kept for kept in super().get_line_filters() if not isinstance(kept, _UNUSED_FILTERS)]
        return [*own, *self._filters_added]

    # -- messages from threads ------------------------------------------------------------

    @on(FolderChanged)
    def _handle_view(self, message: FolderChanged) -> None:
        view = self._view = message.view
        if self.current_mode == "opening":
            self.switch_mode("dashboard")
        if view.focused is not None and self._needs_focus(view):
            self.focus_run(view.focused.summary.path)
        self._warn_once(view.warnings)
        self.engines.attach_to_live(view.runs)
        self.notifier.check_snapshot(view)
        self.services.measure_process(local_process(view.focused))
        self._show_soon()

    @on(HardwareSampled)
    def _handle_sample(self, message: HardwareSampled) -> None:
        self.samples = (*self.samples, message.sample)[-_SAMPLES_KEPT:]
        for page in self._pages():
            if page.is_mounted:  # a sample may arrive before the panes
                page.show_hardware(self.samples)

    @on(EngineEnded)
    def _handle_engine_end(self, message: EngineEnded) -> None:
        end = message.end
        self.engines.ended(end)
        if self.chat.is_own_training(end.path) or self.run_actions.asks_about_rows(end):
            return  # reported there
        failed = end.refused or end.status in ("failed", "crashed")
        self.show_notice(
            self.engines.describe(end, self.view.runs), "error" if failed else "information"
        )
        self.services.watcher.refresh()

    @on(RunMade)
    def _handle_new_run(self, message: RunMade) -> None:
        self.engines.start(message.folder)
        self.focus_run(message.folder.path)
        self.action_show("dashboard")

    @on(ChatNewsPosted)
    def _handle_chat_news(self) -> None:
        self.chat.news_posted()

    @on(TerminalSignal)
    def _write_sequences(self, message: TerminalSignal) -> None:
        if self._driver is not None:
            self._driver.write(message.sequences)
            self._driver.flush()

    @on(NoticePosted)
    def _handle_notice(self, message: NoticePosted) -> None:
        self.show_notice(message.text, message.severity)

    @on(StopsAcknowledged)
    def _exit_stopped(self) -> None:
        self.exit(0)

    # -- for the screens ------------------------------------------------------------

    def show_notice(self, text: str, severity: Severity = "information") -> None:
        """Show a notice; text from files is cleaned and never read as markup."""
        width = min(_NOTICE_WIDTH, self.size.width - _NOTICE_EDGE)
        self.notify(unbroken(Content(clean(text)), width).plain, severity=severity, markup=False)

    def refresh_chat(self) -> None:
        """Update the screens that show the chat."""
        for page in self._pages():
            if page.is_mounted:
                page.refresh_chat()

    def focus_run(self, path: Path | None) -> None:
        """Select the run that the dashboard shows."""
        if path != self.focus_path:
            self.focus_path = path
            self.services.watcher.focus(path)

    def toggle_overlay(self, path: Path) -> None:
        """Mark a run to be overlaid on the dashboard, or remove the mark."""
        if path in self.overlay:
            self.overlay = tuple(other for other in self.overlay if other != path)
        elif len(self.overlay) == MOST_MARKED:
            self.show_notice(f"{MOST_MARKED} runs are marked already; unmark one first", "warning")
            return
        else:
            self.overlay = (*self.overlay, path)
        self.services.watcher.watch_others(self.overlay)

    def shown_run(self) -> RunSummary | None:
        """The run on the dashboard, from the newest snapshot."""
        runs = self._view.runs if self._view is not None else ()
        return next((run for run in runs if run.path == self.focus_path), None)

    def offers(self, key: Key) -> bool:
        """Whether a key is offered in this session."""
        return not (self.monitor_only and key.id in keymap.SESSION_KEYS)

    def resume_hint(self, run: RunSummary) -> str:
        """How to resume an ended run, as a short text."""
        if not run.ours:
            return f"only {clean(run.tool)}, which wrote it, can resume it"
        if self.monitor_only:
            return f"to resume it: tui-trainer resume {clean(str(run.path))}"
        return f"{self.keymap.shown_by_id('resume_run')} resumes it from its last checkpoint"

    @cached_property
    def chat(self) -> ChatController:
        """The session's chat."""
        from tui_trainer.tui.chat.controller import ChatController

        return ChatController(self, self._factories.chat)

    @cached_property
    def run_actions(self) -> RunActions:
        """The actions of the keys that control a run."""
        from tui_trainer.tui.run_control.actions import RunActions

        return RunActions(self)

    def watch_next(self, folder: Path) -> None:
        """End this session, and begin another one in the folder."""
        self.next_folder = folder
        self.exit(0)

    def exit_message(self) -> str | None:
        """What is printed in the shell after the session, or None."""
        return self.chat.exit_message

    @property
    def view(self) -> FolderView:
        """The newest snapshot of the folder."""
        if self._view is None:
            from tui_trainer.watch.snapshots import FolderView

            self._view = FolderView(self.runs_dir, loading=True)
        return self._view

    @property
    def palette(self) -> Palette:
        """The colours of the charts in the current theme."""
        return themes.chart_palette(self.themes.files[self.theme])

    def runs_here(self, run: RunView | None) -> bool:
        """Whether the run is active on this computer."""
        return local_process(run) is not None

    # -- keys ------------------------------------------------------------------------------------

    def action_control_run(self, action: str) -> None:
        """Run an action on the chosen run; `action` is a method of `RunActions`."""
        getattr(self.run_actions, action)()

    async def action_quit(self) -> None:
        self.run_actions.quit()

    action_help_quit = action_quit  # type: ignore[assignment]

    def action_show(self, screen: str) -> None:
        if self.monitor_only and f"show_{screen}" in keymap.SESSION_KEYS:
            self.show_notice(MONITOR_ONLY, "warning")
        elif screen != self.current_mode:
            self.switch_mode(screen)

    def action_step_back(self) -> None:
        page = self.screen
        if isinstance(page, Page) and not page.step_back():
            self.action_show("dashboard")

    def action_refresh_now(self) -> None:
        self.services.watcher.refresh()
        self.refresh_chat()
        self.show_notice("reading the folder again")

    def action_help(self) -> None:
        from tui_trainer.tui.common.help_screen import HelpScreen

        mode = self.screen.mode_name if isinstance(self.screen, Page) else ""
        self.push_screen(HelpScreen(mode, self.keymap, self.offers))

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        return command_palette.system_commands(self, screen)

    # -- internal ------------------------------------------------------------

    def _pages(self) -> list[Page]:
        return [screen for screen in self.screen_stack if isinstance(screen, Page)]

    def _needs_focus(self, view: FolderView) -> bool:
        """Whether no run is selected yet, or the selected one was deleted from the disk."""
        path = self.focus_path
        if path is None:
            return True
        return path not in {run.path for run in view.runs} and not path.exists()

    def _show_soon(self) -> None:
        """Show the newest snapshot: at once, or after the minimum time between two frames."""
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
            self.call_after_refresh(gc_pause.resume)

    def _is_chat_training(self, path: Path) -> bool:
        return "chat" in vars(self) and self.chat.is_own_training(path)

    def _warn_once(self, warnings: tuple[str, ...]) -> None:
        for warning in warnings:
            if warning not in self._shown_warnings:
                self._shown_warnings.add(warning)
                self.show_notice(warning, "warning")

    def _use_themes(self) -> None:
        """Register the themes and apply the chosen one."""
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
