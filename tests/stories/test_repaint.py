"""What is drawn already is not drawn again: snapshots come one by one, from the story itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from textual.strip import Strip

from tests.stories.conftest import FakeSampler, FakeSupervisor, no_chat
from tui_trainer.contracts.settings import Settings
from tui_trainer.tui.app import TrainerApp
from tui_trainer.tui.common.protocols import Services
from tui_trainer.tui.messages import FolderChanged
from tui_trainer.tui.runs.run_table import RunTable
from tui_trainer.watch.snapshots import FolderView, RunSummary

Seen = Callable[..., Awaitable[None]]
Becomes = Callable[[TrainerApp, Callable[[], bool]], Awaitable[None]]


class SilentWatcher:
    """Reads nothing: the snapshots come from the story."""

    def start(self) -> None: ...
    def stop(self) -> None: ...
    def focus(self, path: Path | None) -> None: ...
    def watch_others(self, paths: tuple[Path, ...]) -> None: ...
    def refresh(self) -> None: ...


@pytest.fixture
def app(runs_dir: Path) -> TrainerApp:
    """The session over a folder that nothing reads."""
    services = Services(
        watch=lambda on_change: SilentWatcher(),
        sampler=lambda pid, path: FakeSampler(),
        supervisor=FakeSupervisor,
        chat=no_chat,
    )
    return TrainerApp(runs_dir, settings=Settings(), services=services)


def fifty(root: Path) -> FolderView:
    """Fifty runs, all read."""
    runs = tuple(
        RunSummary(path=root / str(n), id=str(n), name=f"run {n}", kind="jsonl", status="unknown")
        for n in range(50)
    )
    return FolderView(root, runs=runs, read=50)


def note_lines(table: RunTable) -> list[int]:
    """The lines that the list draws from now on."""
    drawn: list[int] = []
    render = table.render_line

    def note(y: int) -> Strip:
        drawn.append(y)
        return render(y)

    table.render_line = note  # type: ignore[method-assign]
    return drawn


async def test_runs_that_are_all_read_with_the_first_snapshot_are_drawn_once(
    app: TrainerApp, runs_dir: Path, seen: Seen
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await seen(app, "reading the folder")
        app.post_message(FolderChanged(fifty(runs_dir)))
        await seen(app, "50 runs", "run 9")
        table = app.screen.query_one(RunTable)
        await pilot.pause()
        drawn = note_lines(table)
        app.screen.refresh_all()  # type: ignore[attr-defined]
        await pilot.pause()
        assert drawn == []
        await pilot.resize_terminal(90, 20)
        await pilot.pause()
        assert set(drawn) == set(range(table.size.height))
        drawn.clear()
        app.screen.refresh_all()  # type: ignore[attr-defined]
        await pilot.pause()
        assert drawn == []


async def test_an_invalid_condition_is_reported_once(
    app: TrainerApp, runs_dir: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        app.post_message(FolderChanged(fifty(runs_dir)))
        await seen(app, "50 runs")
        await pilot.press("slash", *"loss<30x")
        await seen(app, "not '30x'")
        await pilot.pause()
        laid: list[object] = []
        monkeypatch.setattr(app.screen, "_refresh_layout", lambda *_, **__: laid.append(1))
        app.screen.refresh_all()  # type: ignore[attr-defined]
        await pilot.pause()
        assert laid == []
