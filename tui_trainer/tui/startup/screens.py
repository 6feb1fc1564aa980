"""The screens by name. Each is loaded when it is first looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tui_trainer.tui.common.page import Page
from tui_trainer.tui.startup.splash_screen import Opening


def _dashboard() -> Page:
    from tui_trainer.tui.dashboard.screen import Dashboard

    return Dashboard()


def _runs() -> Page:
    from tui_trainer.tui.runs.screen import Runs

    return Runs()


def _chat() -> Page:
    from tui_trainer.tui.chat.screen import Chat

    return Chat()


def _adapters() -> Page:
    from tui_trainer.tui.adapters.screen import Adapters

    return Adapters()


def _new() -> Page:
    from tui_trainer.tui.new_run.screen import NewRun

    return NewRun()


MODES: Mapping[str, Callable[[], Page]] = {
    "opening": Opening,
    "dashboard": _dashboard,
    "runs": _runs,
    "chat": _chat,
    "adapters": _adapters,
    "new": _new,
}
