"""What the first screen of an empty folder offers: the example, and another folder to watch."""

from __future__ import annotations

from pathlib import Path

from tui_trainer.contracts.errors import UserError
from tui_trainer.store import jobs, paths
from tui_trainer.store.runs import run_folder
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.session import AppSession
from tui_trainer.tui.messages import NoticePosted, RunMade


def train_example(app: AppSession) -> None:
    """Start a run of the packaged example, where the folder has no runs yet."""
    if app.view.runs or app.view.loading:
        key = app.keymap.shown_by_id("new_run")
        app.show_notice(f"this folder has runs already: {key} opens the form for another one")
        return
    app.show_notice("starting the example: the built-in model learns about a lighthouse")
    folder = app.runs_dir
    in_background("make run", lambda: _make(app, folder))


def _make(app: AppSession, runs_dir: Path) -> None:
    try:
        made = run_folder.create_run(runs_dir, jobs.load_job(paths.example_job()))
    except UserError as error:
        app.post_message(NoticePosted(str(error), "error"))
    else:
        app.post_message(RunMade(made))


def folder_problem(text: str) -> str | None:
    """What is wrong with a folder to watch, or None."""
    if not text.strip():
        return "enter a folder, such as ~/runs"
    path = Path(text.strip()).expanduser()
    try:
        if path.is_dir():
            return None
        return "this is a file, not a folder" if path.exists() else "there is no such folder"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {error}"
