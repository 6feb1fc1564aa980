"""The keys that steer a run, as the app's actions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, cast

from textual.app import App

if TYPE_CHECKING:  # loaded with the first key
    from tui_trainer.contracts.job import Job
    from tui_trainer.tui.app import TrainerApp
    from tui_trainer.tui.run_control.actions import RunActions


class SteeredApp(App[int]):
    """Hands each key on to `Orders`."""

    template: Job | None = None  # what the form for a new run is to be filled from, once

    @cached_property
    def orders(self) -> RunActions:
        """What the keys that steer a run do."""
        from tui_trainer.tui.run_control.actions import RunActions

        return RunActions(cast("TrainerApp", self))

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

    def action_again(self) -> None:
        self.orders.again()

    def action_adopt(self) -> None:
        self.orders.adopt()

    def action_details(self) -> None:
        self.orders.details()

    def action_machine(self) -> None:
        self.orders.machine()

    async def action_quit(self) -> None:
        self.orders.leave()

    async def action_help_quit(self) -> None:  # type: ignore[override]
        self.orders.leave()
