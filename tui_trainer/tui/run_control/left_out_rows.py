"""The question whether a run is trained without the rows that cannot be used."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

import msgspec
from textual.screen import Screen

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job
from tui_trainer.contracts.runs.data_report import TooManyLeftOut
from tui_trainer.contracts.runs.run import RunInfo
from tui_trainer.launch.exit_report import EngineEnd
from tui_trainer.store.runs import run_folder, untrained_run
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text.formats import clean
from tui_trainer.tui.common.background import in_background
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.common.page import Page
from tui_trainer.tui.common.session import AppSession, TimerHost
from tui_trainer.tui.messages import NoticePosted, RunMade

_WAIT_SECONDS = 0.5  # between two looks at the screen


class QuestionHost(AppSession, TimerHost, Protocol):
    """The app, as the question uses it."""

    @property
    def screen(self) -> Screen[Any]: ...


def is_question(app: QuestionHost, end: EngineEnd) -> bool:
    """Ask whether to train on the remaining rows where a run of this session was refused because
    of those that would be left out; return whether that is so."""
    rows = end.left_out
    info = None if rows is None else RunFolder(end.path).info()
    if rows is None or info is None or app.monitor_only or not app.engines.has_started(end.path):
        return False
    _ask(app, end, info, rows)
    return True


def _ask(
    app: QuestionHost, end: EngineEnd, info: RunInfo, rows: TooManyLeftOut, waiting: bool = False
) -> None:
    """Ask on the dashboard: elsewhere a key that is being typed could be taken for the answer."""
    if not (isinstance(app.screen, Page) and app.screen.mode_name == "dashboard"):
        if not waiting:
            key = app.keymap.shown_by_id("show_dashboard")
            app.show_notice(
                f"{clean(info.name)} is not started yet: rows would be left out; press {key} to "
                "decide",
                "warning",
            )
        app.set_timer(_WAIT_SECONDS, lambda: _ask(app, end, info, rows, waiting=True))
        return
    question = f"{clean(rows.summary())}. Train on the rest?"
    options = (
        ChoiceOption("yes", "y", f"yes, with data.allow_dropped = {rows.allow_dropped:g}"),
        ChoiceOption("no", "n", "no, change the settings"),
    )

    def decide(answer: str | None) -> None:
        if answer == "yes":
            data = msgspec.structs.replace(info.job.data, allow_dropped=rows.allow_dropped)
            job = msgspec.structs.replace(info.job, data=data)
            app.show_notice(f"starting {clean(info.name)} again without these rows")
            in_background("make run", lambda: _start_again(app, end, info.name, job))
            return
        if not end.refused:  # else it had ended before it was resumed, perhaps for another reason
            refused = RunFolder(end.path)
            in_background(
                "remove run", lambda: _remove(app, partial(untrained_run.remove, refused))
            )
        app.template = info.job
        app.action_show("new")

    app.push_screen(ChoiceDialog(question, options), decide)


def _start_again(app: QuestionHost, end: EngineEnd, name: str, job: Job) -> None:
    """Create the run with another job and remove the refused one, in a thread: hashing the data may
    take long."""
    try:
        made = run_folder.create_run(end.path.parent, job, name)
    except UserError as error:
        app.post_message(NoticePosted(str(error), "error"))
    else:
        _remove(app, partial(untrained_run.replace, RunFolder(end.path), made))
        app.post_message(RunMade(made))


def _remove(app: QuestionHost, work: Callable[[], object]) -> None:
    """Remove the refused run with `work`, in a thread."""
    try:
        work()
    except UserError as error:
        app.post_message(NoticePosted(str(error), "warning"))
