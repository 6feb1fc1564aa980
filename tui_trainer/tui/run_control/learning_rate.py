"""Setting the learning rate of a run, with a question before a large rise."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from tui_trainer.store.runs import present_rate
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.session import AppSession, DialogHost
from tui_trainer.tui.run_control import commands

if TYPE_CHECKING:
    from tui_trainer.watch.snapshots import RunSummary


def send_rate(app: AppSession, run: RunSummary, rate: float) -> None:
    """Send a learning rate; ask first where it is more than ten times the current one."""

    def send() -> None:
        commands.ask(app.post_message, run, "set-lr", {"learning_rate": rate})

    confirm_rise(app, RunFolder(run.path), rate, send)


def confirm_rise(app: DialogHost, folder: RunFolder, rate: float, act: Callable[[], None]) -> None:
    """Call `act`; if `rate` is more than ten times the current one, ask the user first."""
    rise = present_rate.rise(folder, rate)
    if rise is None:
        act()
        return
    options = (
        ChoiceOption("set", "y", f"set {formats.rate(rate)} anyway"),
        ChoiceOption("leave", "escape", "keep the current rate"),
    )

    def decide(answer: str | None) -> None:
        if answer == "set":
            act()

    app.push_screen(ChoiceDialog(f"{rise}.", options), decide)


def parse_rate(text: str) -> float | None:
    """`text` as a learning rate above 0; None for any other text."""
    try:
        rate = float(text)
    except ValueError:
        return None
    return rate if rate > 0 and math.isfinite(rate) else None
