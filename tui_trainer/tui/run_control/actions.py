"""What the keys that steer a run do: check, ask where it cannot be undone, send."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.run import CommandName
from tui_trainer.launch.broken_rate import BrokenRate, broken_rate
from tui_trainer.store.runs import present_rate
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui import keymap
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.dialogs.prompt import PromptDialog
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.run_control import commands
from tui_trainer.tui.runs.details_screen import DetailsScreen
from tui_trainer.watch.snapshots import RunSummary

if TYPE_CHECKING:
    from tui_trainer.tui.app import TrainerApp


class RunActions:
    """Acts on the run that the present screen points at."""

    def __init__(self, app: TrainerApp) -> None:
        self._app = app

    def pause(self) -> None:
        """Pauses the run, or lets it go on."""
        run = self._commandable()
        if run is not None:
            command: CommandName = "resume" if run.status == "paused" else "pause"
            commands.ask(self._app.post_message, run, command)

    def checkpoint(self) -> None:
        """Has a checkpoint written."""
        run = self._commandable()
        if run is not None:
            commands.ask(self._app.post_message, run, "checkpoint")

    def stop(self) -> None:
        """Asks, then has the run save and stop."""
        run = self._commandable()
        if run is None:
            return
        question = f"Save {clean(run.name)} at step {run.step or 0:,} and stop it?"
        options = (
            ChoiceOption("stop", "s", "save and stop"),
            ChoiceOption("stay", "escape", "let it go on"),
        )

        def decide(answer: str | None) -> None:
            if answer == "stop":
                commands.ask(self._app.post_message, run, "stop")

        self._app.push_screen(ChoiceDialog(question, options), decide)

    def set_rate(self) -> None:
        """Asks for a learning rate and sends it."""
        run = self._commandable()
        if run is None:
            return

        def decide(text: str | None) -> None:
            rate = None if text is None else parse_rate(text)
            if rate is not None:
                self.send_rate(run, rate)

        present = present_rate.newest_rate(RunFolder(run.path))
        prompt = PromptDialog(
            f"Learning rate of {clean(run.name)}",
            "" if present is None else formats.rate(present),
            "it holds from the next step on and keeps the schedule's shape",
            lambda text: None if parse_rate(text) else "needs a number above 0, such as 2e-4",
        )
        self._app.push_screen(prompt, decide)

    def send_rate(self, run: RunSummary, rate: float) -> None:
        """Sends a learning rate; asks first where it is more than ten times the present one."""

        def send() -> None:
            commands.ask(self._app.post_message, run, "set-lr", {"learning_rate": rate})

        self.ask_about_rise(RunFolder(run.path), rate, send)

    def ask_about_rise(self, folder: RunFolder, rate: float, act: Callable[[], None]) -> None:
        """Acts, but where `rate` is more than ten times the present one only when told so."""
        rise = present_rate.rise(folder, rate)
        if rise is None:
            act()
            return
        options = (
            ChoiceOption("set", "y", f"set {formats.rate(rate)} all the same"),
            ChoiceOption("leave", "escape", "leave the rate as it is"),
        )

        def decide(answer: str | None) -> None:
            if answer == "set":
                act()

        self._app.push_screen(ChoiceDialog(f"{rise}.", options), decide)

    def resume_run(self) -> None:
        """Starts the engine again on a run that ended early. Where it broke after its rate was
        set, asks whether to go on from before that."""
        run = self._target()
        if run is None:
            self._app.tell("no run is chosen", "warning")
        elif self._app.monitor_only or (run.kind == "run" and not run.ours):
            self._app.tell(self._app.resume_hint(run), "warning")
        elif run.kind != "run" or run.status not in run_status.RESUMABLE:
            word = run_status.word(run.status)
            self._app.tell(f"{run.name} is {word}; there is nothing to carry on", "warning")
        else:
            broken = broken_rate(RunFolder(run.path))
            if broken is None:
                self._start_again(run)
            else:
                self._ask_about_broken_rate(run, broken)

    def _ask_about_broken_rate(self, run: RunSummary, broken: BrokenRate) -> None:
        options = (
            ChoiceOption("back", "b", broken.way),
            ChoiceOption("keep", "r", f"from the newest checkpoint, with {broken.rate:.3g} again"),
            ChoiceOption("leave", "escape", "leave it"),
        )

        def decide(answer: str | None) -> None:
            if answer == "back":
                self._start_again(run, broken.checkpoint, broken.peak)
            elif answer == "keep":
                self._start_again(run)

        self._app.push_screen(ChoiceDialog(f"{clean(broken.what)}.", options), decide)

    def _start_again(
        self, run: RunSummary, checkpoint: str | None = None, peak: float | None = None
    ) -> None:
        self._app.fleet.start(RunFolder(run.path), checkpoint, peak)
        self._app.look_at(run.path)
        self._app.tell(f"starting the engine of {run.name} again")

    def again(self) -> None:
        """Fills the form for a new run with the settings of the chosen one."""
        run = self._target()
        if run is None:
            self._app.tell("no run is chosen", "warning")
            return
        info = RunFolder(run.path).info() if run.kind == "run" else None
        if info is None:
            self._app.tell(f"{run.name} has no job of tui-trainer to start from", "warning")
            return
        self._app.template = info.job
        self._app.action_show("new")

    def adopt(self) -> None:
        """Adds the run's adapter to the adapters, under a name that is asked for."""
        from tui_trainer.tui.adapters import background_tasks  # loaded when they are wanted
        from tui_trainer.tui.adapters.adapter_names import adapter_name, name_problem
        from tui_trainer.tui.common.dialogs.progress import ProgressDialog

        run = self._target()
        if run is None:
            self._app.tell("no run is chosen", "warning")
            return
        folder = RunFolder(run.path)
        try:
            name = adapter_name(background_tasks.addable(folder).name)
        except UserError as error:
            self._app.tell(str(error), "warning")
            return

        def decide(chosen: str | None) -> None:
            if chosen is not None:
                work: ProgressDialog[str] = ProgressDialog(
                    f"Adding the adapter of {run.name}",
                    lambda report: background_tasks.add_run(folder, chosen, report),
                )
                self._app.push_screen(work, self._adopted)

        hint = "letters, digits, '-' and '_'"
        self._app.push_screen(PromptDialog("Name of the adapter", name, hint, name_problem), decide)

    def _adopted(self, name: str | None) -> None:
        if name is not None:
            self._app.tell(f"{name} is an adapter now")
            self._app.action_show("adapters")

    def details(self) -> None:
        """Shows everything there is to know of the run."""
        run = self._target()
        if run is None:
            self._app.tell("no run is chosen", "warning")
            return
        view = self._app.view
        known = (*view.others, *([view.focused] if view.focused is not None else []))
        whole = next((one for one in known if one.summary.path == run.path), None)
        self._app.push_screen(DetailsScreen(run, whole))

    def machine(self) -> None:
        """Shows the whole machine, zoomed as the charts are."""
        from tui_trainer.tui.dashboard.screen import DashboardScreen
        from tui_trainer.tui.hardware.screen import HardwareScreen  # loaded when it is wanted
        from tui_trainer.tui.run_charts.viewport import ALL

        page = self._app.screen
        times = page.times_shown if isinstance(page, DashboardScreen) else ALL
        self._app.push_screen(HardwareScreen(times))

    def leave(self) -> None:
        """Leaves at once, or asks where a run begun here still trains."""
        training = self._app.fleet.training()
        if not training:
            self._exit()
            return
        names = ", ".join(clean(folder.path.name) for folder in training)
        options = (
            ChoiceOption("leave", "q", "leave, let it train on"),
            ChoiceOption("stop", "s", "save and stop, then leave"),
            ChoiceOption("stay", "escape", "stay"),
        )

        def decide(answer: str | None) -> None:
            if answer == "leave":
                self._exit()
            elif answer == "stop":
                self._app.tell("saving and stopping, then leaving")
                commands.stop_all(self._app.post_message, training)

        self._app.push_screen(ChoiceDialog(f"{names} still trains.", options), decide)

    def _exit(self) -> None:
        self._app.exit(0, message=self._app.chatting.last_words)

    def _target(self) -> RunSummary | None:
        page = self._app.screen
        return page.target() if isinstance(page, Page) else None

    def _commandable(self) -> RunSummary | None:
        """The run to steer, or None with the reason told."""
        run = self._target()
        resume = next(key for key in keymap.KEYS if key.id == "resume_run")
        key = "tui-trainer resume" if self._app.monitor_only else self._app.keymap.shown(resume)
        reason = commands.refusal(run, key)
        if reason is not None:
            self._app.tell(reason, "warning")
            return None
        return run


def parse_rate(text: str) -> float | None:
    """A learning rate above 0, or None where `text` is none."""
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if rate > 0 and math.isfinite(rate) else None
