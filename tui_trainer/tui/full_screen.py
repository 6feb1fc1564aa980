"""Full-screen sessions, one after another, in this terminal."""

from __future__ import annotations

import sys
from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.settings import Settings
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.startup.services import real_services


def run_app(
    runs_dir: Path,
    *,
    focus: Path | None = None,
    monitor_only: bool = False,
    settings: Settings,
) -> int:
    """Run the full-screen session until it ends and return its exit status.

    `focus` is the run to show first. Raises `UserError` where there is no terminal.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UserError("the full-screen session needs a terminal; see --headless and --json")
    wanted: Path | None = runs_dir
    status: int | None = None
    while wanted is not None:
        services = real_services(wanted, settings.refresh_seconds, settings.model, settings.advisor)
        app = TrainerApp(
            wanted, settings=settings, services=services, focus=focus, monitor_only=monitor_only
        )
        status = app.run()
        app.notifier.close()
        wanted, focus = app.next_folder, None
    return 1 if status is None else status
