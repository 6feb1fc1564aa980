"""The actions of the keys that control a run; what cannot be undone asks first."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from textual.screen import Screen

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.runs.run import CommandName
from tui_trainer.launch.broken_rate import BrokenRate, broken_rate
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store.runs import present_rate
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.dialogs.prompt import PromptDialog
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.session import AppSession, TimerHost
from tui_trainer.tui.run_control import commands, first_steps, left_out_rows
from tui_trainer.tui.run_control.learning_rate import parse_rate, send_rate
from tui_trainer.tui.runs.details_screen import DetailsScreen
from tui_trainer.watch.snapshots import RunSummary


class RunControlHost(AppSession, TimerHost, Protocol):
    """The app as the actions use it: they also read which screen is shown, and exit."""

    @property
    def screen(self) -> Screen[Any]: ...
    def exit_message(self) -> str | None: ...
    def watch_next(self, folder: Path) -> None: ...
    def exit(
        self, result: int | None = None, return_code: int = 0, message: str | None = None
    ) -> None: ...


class RunActions:
    """Acts on the run that is selected on the current screen."""

    def __init__(self, app: RunControlHost) -> None:
        self._app = app

    def asks_about_rows(self, end: EngineEnd) -> bool:
        """Ask about the rows that a refused run would leave out; False if it ended otherwise."""
        return left_out_rows.is_question(self._app, end)

    def pause(self) -> None:
        """Pause or resume the run."""
        run = self._commandable()
        if run is not None:
            command: CommandName = "resume" if run.status == "paused" else "pause"
            commands.ask(self._app.post_message, run, command)

    def checkpoint(self) -> None:
        """Request a checkpoint."""
        run = self._commandable()
        if run is not None:
            commands.ask(self._app.post_message, run, "checkpoint")

    def skip_evaluation(self) -> None:
        """Cancel the evaluation that is running."""
        run = self._commandable()
        if run is None:
            return
        if run.status != "evaluating":
            self._app.show_notice(f"{clean(run.name)} is not evaluating", "warning")
        else:
            commands.ask(self._app.post_message, run, "skip-evaluation")

    def stop(self) -> None:
        """Ask the user, then request that the run saves and stops."""
        run = self._commandable()
        if run is None:
            return
        question = f"Save {clean(run.name)} at step {formats.count(run.step or 0)} and stop it?"
        options = (
            ChoiceOption("stop", "s", "save and stop"),
            ChoiceOption("stay", "escape", "keep it running"),
        )

        def decide(answer: str | None) -> None:
            if answer == "stop":
                commands.ask(self._app.post_message, run, "stop")

        self._app.push_screen(ChoiceDialog(question, options), decide)

    def set_rate(self) -> None:
        """Ask for a learning rate and send it."""
        run = self._commandable()
        if run is None:
            return

        def decide(text: str | None) -> None:
            rate = None if text is None else parse_rate(text)
            if rate is not None:
                send_rate(self._app, run, rate)

        present = present_rate.newest_rate(RunFolder(run.path))
        prompt = PromptDialog(
            f"Learning rate of {clean(run.name)}",
            "" if present is None else formats.rate(present),
            "applies from the next step; the shape of the schedule is kept",
            lambda text: None if parse_rate(text) else "enter a number above 0, such as 2e-4",
        )
        self._app.push_screen(prompt, decide)

    def resume_run(self) -> None:
        """Resume a run that ended early. Where it failed after its learning rate was set, ask
        whether to resume from a checkpoint before that."""
        run = self._target()
        if run is None:
            self._app.show_notice("no run is selected", "warning")
        elif self._app.monitor_only or (run.kind == "run" and not run.ours):
            self._app.show_notice(self._app.resume_hint(run), "warning")
        elif run.kind != "run" or run.status not in run_status.RESUMABLE:
            status = run_status.label(run.status)
            self._app.show_notice(f"{run.name} is {status}; there is nothing to resume", "warning")
        else:
            from tui_trainer.tui.dashboard.advice_actions import AdviceActions  # on first use

            broken, page = broken_rate(RunFolder(run.path)), self._app.screen
            if broken is not None:
                self._ask_about_broken_rate(run, broken)
            elif not (isinstance(page, AdviceActions) and page.asks_before_resume()):
                self._start_again(run)

    def _ask_about_broken_rate(self, run: RunSummary, broken: BrokenRate) -> None:
        rate = formats.rate(broken.rate)
        options = (
            ChoiceOption("back", "b", broken.continuation),
            ChoiceOption("keep", "r", f"from the newest checkpoint, again with {rate}"),
            ChoiceOption("leave", "escape", "cancel"),
        )

        def decide(answer: str | None) -> None:
            if answer == "back":
                self._start_again(run, broken.checkpoint, broken.peak)
            elif answer == "keep":
                self._start_again(run)

        self._app.push_screen(ChoiceDialog(f"{clean(broken.description)}.", options), decide)

    def _start_again(
        self, run: RunSummary, checkpoint: str | None = None, peak: float | None = None
    ) -> None:
        self._app.engines.start(RunFolder(run.path), checkpoint, peak)
        self._app.focus_run(run.path)
        self._app.show_notice(f"resuming {run.name}")

    def again(self) -> None:
        """Fill in the form for a new run with the settings of the selected one."""
        run = self._target()
        if run is None:
            self._app.show_notice("no run is selected", "warning")
            return
        info = RunFolder(run.path).info() if run.kind == "run" else None
        if info is None:
            self._app.show_notice(
                f"{run.name} was written by another tool: its settings cannot be reused", "warning"
            )
            return
        self._app.template = info.job
        self._app.action_show("new")

    def train_example(self) -> None:
        """Start a run of the packaged example."""
        first_steps.train_example(self._app)

    def watch_folder(self) -> None:
        """Ask for another folder of runs, and begin again with it."""

        def decide(text: str | None) -> None:
            if text is not None:
                self._app.watch_next(Path(text.strip()).expanduser())

        hint = "its runs are found at any depth, also those of other tools"
        check = first_steps.folder_problem
        self._app.push_screen(PromptDialog("Folder of runs to watch", "", hint, check), decide)

    def add_adapter(self) -> None:
        """Ask for a name and add the run's adapter to the adapters under it."""
        from tui_trainer.tui.adapters import background_tasks  # imported on first use
        from tui_trainer.tui.adapters.adapter_names import adapter_name, name_problem
        from tui_trainer.tui.common.dialogs.progress import ProgressDialog

        run = self._target()
        if run is None:
            self._app.show_notice("no run is selected", "warning")
            return
        folder = RunFolder(run.path)
        try:
            name = adapter_name(background_tasks.addable(folder).name)
        except UserError as error:
            self._app.show_notice(str(error), "warning")
            return

        def decide(chosen: str | None) -> None:
            if chosen is not None:
                work: ProgressDialog[str] = ProgressDialog(
                    f"Adding the adapter of {run.name}",
                    lambda report: background_tasks.add_run(folder, chosen, report),
                )
                self._app.push_screen(work, self._adapter_added)

        hint = "letters, digits, '-' and '_'"
        self._app.push_screen(PromptDialog("Name of the adapter", name, hint, name_problem), decide)

    def _adapter_added(self, name: str | None) -> None:
        if name is not None:
            self._app.show_notice(f"adapter {name} is added")
            self._app.action_show("adapters")

    def details(self) -> None:
        """Show the details of the run."""
        run = self._target()
        if run is None:
            self._app.show_notice("no run is selected", "warning")
            return
        view = self._app.view
        known = (*view.others, *([view.focused] if view.focused is not None else []))
        whole = next((one for one in known if one.summary.path == run.path), None)
        self._app.push_screen(DetailsScreen(run, whole))

    def hardware(self) -> None:
        """Show the hardware screen, zoomed to the same period as the charts."""
        from tui_trainer.tui.dashboard.screen import DashboardScreen
        from tui_trainer.tui.hardware.screen import HardwareScreen  # imported on first use
        from tui_trainer.tui.run_charts.viewport import ALL

        page = self._app.screen
        times = page.times_shown() if isinstance(page, DashboardScreen) else ALL
        self._app.push_screen(HardwareScreen(times))

    def quit(self) -> None:
        """Quit at once; ask first where a run started in this session is still training."""
        training = self._app.engines.training()
        if not training:
            self._exit()
            return
        names = ", ".join(clean(folder.path.name) for folder in training)
        options = (
            ChoiceOption("leave", "q", "quit, keep it training"),
            ChoiceOption("stop", "s", "save and stop it, then quit"),
            ChoiceOption("stay", "escape", "cancel"),
        )

        def decide(answer: str | None) -> None:
            if answer == "leave":
                self._exit()
            elif answer == "stop":
                self._app.show_notice("saving and stopping; quits when this is done")
                commands.stop_all(self._app.post_message, training)

        self._app.push_screen(
            ChoiceDialog(
                f"{names} {'is' if len(training) == 1 else 'are'} still training.", options
            ),
            decide,
        )

    def _exit(self) -> None:
        self._app.exit(0, message=self._app.exit_message())

    def _target(self) -> RunSummary | None:
        page = self._app.screen
        return page.target() if isinstance(page, Page) else None

    def _commandable(self) -> RunSummary | None:
        """The run to control; None, after a notice with the reason, where that is not possible."""
        run = self._target()
        key = "" if self._app.monitor_only else self._app.keymap.shown_by_id("resume_run")
        reason = commands.refusal(run, key)
        if reason is not None:
            self._app.show_notice(reason, "warning")
            return None
        return run
