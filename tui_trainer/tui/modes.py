"""The screens by name. Each is loaded when it is first looked at."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tui_trainer.tui.screens.opening import Opening
from tui_trainer.tui.screens.page import Page


def _dashboard() -> Page:
    from tui_trainer.tui.screens.dashboard import Dashboard

    return Dashboard()


def _runs() -> Page:
    from tui_trainer.tui.screens.runs import Runs

    return Runs()


def _chat() -> Page:
    from tui_trainer.tui.screens.chat import Chat

    return Chat()


def _adapters() -> Page:
    from tui_trainer.tui.screens.adapters import Adapters

    return Adapters()


def _new() -> Page:
    from tui_trainer.tui.screens.new_run import NewRun

    return NewRun()


MODES: Mapping[str, Callable[[], Page]] = {
    "opening": Opening,
    "dashboard": _dashboard,
    "runs": _runs,
    "chat": _chat,
    "adapters": _adapters,
    "new": _new,
}
