"""Notifications about the runs of the folder while the app is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tui_trainer.tui.common.session import MessageHost, NoticeHost, TimerHost
from tui_trainer.tui.messages import NoticePosted, Severity, TerminalSignal

if TYPE_CHECKING:  # loaded after the first runs were read
    from textual.message import Message

    from tui_trainer.contracts.advice import Advice
    from tui_trainer.contracts.notice import Notice
    from tui_trainer.contracts.settings import Settings
    from tui_trainer.notify.notice_rules import SeenRun
    from tui_trainer.notify.notifier import Notifier
    from tui_trainer.tui.common.protocols import SessionEngines
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

_RECHECK_SECONDS = 1.1  # after that a crash is certain
_FLUSH_SECONDS = 3.0


class NotifierHost(NoticeHost, MessageHost, TimerHost, Protocol):
    """The parts of the app that the notifier uses."""

    settings: Settings

    @property
    def engines(self) -> SessionEngines: ...
    @property
    def is_running(self) -> bool: ...


class ScreenNotifier:
    """Turns snapshots into notices, shows and sends them. Slow work runs in threads."""

    def __init__(self, app: NotifierHost, is_chat_training: Callable[[Path], bool]) -> None:
        """`is_chat_training` returns whether a run is a training of the chat, which reports its
        end itself."""
        self._app = app
        self._is_chat_training = is_chat_training
        self._started_at = time.time()
        self._notifier: Notifier | None = None
        self._runs: dict[Path, RunSummary] = {}
        self._advised: tuple[Path, tuple[Advice, ...]] | None = None
        self._check_pending = False

    def check_snapshot(self, view: FolderView) -> None:
        """Check the runs that changed in a snapshot."""
        if view.problem is None:
            changed = [run for run in view.runs if self._runs.get(run.path) is not run]
            if changed:
                self._runs = {run.path: run for run in view.runs}
                self._check(changed)
            if view.focused is not None and view.focused.advice_computed:
                self._check_advice(view.focused)

    def _check_advice(self, view: RunView) -> None:
        """Check the advice that was computed here, for a run without an advisor."""
        advice = view.summary.path, view.advice or ()
        if advice != self._advised:
            self._advised = advice
            self._publish(self._get_notifier().check_advice(seen_of(view.summary), advice[1]))

    def has_checked_advice(self, path: Path) -> bool:
        """Whether advice on a run was checked before, so that later advice is new."""
        return self._notifier is not None and self._notifier.has_checked_advice(path)

    def close(self) -> None:
        """Send the pending notices, within a few seconds."""
        if self._notifier is not None:
            self._notifier.flush(_FLUSH_SECONDS)
            self._notifier.close()

    def _check(self, runs: Iterable[RunSummary]) -> None:
        notifier = self._get_notifier()
        seen = [seen_of(run) for run in runs if not self._is_chat_training(run.path)]
        self._publish(notifier.check(seen))
        if notifier.awaits_crash and not self._check_pending:
            self._check_pending = True
            self._app.set_timer(_RECHECK_SECONDS, self._check_again)

    def _check_again(self) -> None:
        self._check_pending = False
        self._check([run for run in self._runs.values() if run.status == "crashed"])

    def _publish(self, notices: list[Notice]) -> None:
        """Show the notices, but for ends that the app shows when the engine's process ends."""
        for notice in notices:
            is_end = notice.kind in ("crash", "failure", "finish")
            if not (is_end and self._app.engines.reports_end(Path(notice.path))):
                severity: Severity = "information" if notice.kind == "finish" else "error"
                self._app.show_notice(notice.text, severity)

    def _post(self, message: Message) -> None:
        """Post from other threads; messages after the end of the app are dropped."""
        if self._app.is_running:
            self._app.post_message(message)

    def _get_notifier(self) -> Notifier:
        if self._notifier is None:
            from tui_trainer.notify.notifier import Notifier

            self._notifier = Notifier(
                self._app.settings.notify,
                write=lambda text: self._post(TerminalSignal(text)),
                on_problem=lambda text: self._post(NoticePosted(text, "warning")),
                since=self._started_at,
            )
        return self._notifier


def seen_of(run: RunSummary) -> SeenRun:
    """The facts about a run that the notice rules need."""
    from tui_trainer.notify.notice_rules import SeenRun, resume_hint

    crashed = run.status == "crashed"
    return SeenRun(
        path=run.path,
        run=run.id,
        name=run.name,
        status=run.status,
        step=run.step,
        total_steps=run.total_steps,
        loss=run.loss,
        best_val_loss=run.best_val_loss,
        message="" if crashed else run.message,  # written before the crash
        updated_at=run.updated_at,
        stalled=run.stalled,
        critical=run.critical,
        resume=resume_hint(run.path.name) if crashed and run.ours else "",
        foreign=run.kind != "run",
    )
