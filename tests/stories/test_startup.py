"""What comes from threads before there is a screen to show it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tui_trainer.contracts.hardware import HardwareSample
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.dashboard.screen import DashboardScreen
from tui_trainer.tui.messages import HardwareSampled


async def test_a_sample_that_comes_before_the_panes_is_kept_for_later(
    session: Callable[..., TrainerApp],
    becomes: Callable[..., Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = session()
    real = DashboardScreen.compose
    early: list[bool] = []

    def compose(self: DashboardScreen) -> Any:
        early.append(self.is_mounted)
        app._handle_sample(HardwareSampled(HardwareSample(time=0.0)))
        app.refresh_chat()
        return real(self)

    monkeypatch.setattr(DashboardScreen, "compose", compose)
    async with app.run_test(size=(80, 24)):
        await becomes(app, lambda: bool(early))
        assert early == [False] and app.samples
