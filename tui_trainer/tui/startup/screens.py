"""The screens by name. Each is loaded when it is first shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tui_trainer.tui.common.page import Page
from tui_trainer.tui.startup.splash_screen import SplashScreen


def _dashboard() -> Page:
    from tui_trainer.tui.dashboard.screen import DashboardScreen

    return DashboardScreen()


def _runs() -> Page:
    from tui_trainer.tui.runs.screen import RunsScreen

    return RunsScreen()


def _chat() -> Page:
    from tui_trainer.tui.chat.screen import ChatScreen

    return ChatScreen()


def _adapters() -> Page:
    from tui_trainer.tui.adapters.screen import AdaptersScreen

    return AdaptersScreen()


def _new() -> Page:
    from tui_trainer.tui.new_run.screen import NewRunScreen

    return NewRunScreen()


MODES: Mapping[str, Callable[[], Page]] = {
    "opening": SplashScreen,
    "dashboard": _dashboard,
    "runs": _runs,
    "chat": _chat,
    "adapters": _adapters,
    "new": _new,
}
