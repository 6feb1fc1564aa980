"""Notifications about the runs of the folder while the app is open."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.tui.common.session import AppSession
from tui_trainer.tui.messages import NoticePosted, TerminalSignal

if TYPE_CHECKING:  # loaded after the first runs were read
    from textual.message import Message

    from tui_trainer.contracts.advice import Advice
    from tui_trainer.contracts.notice import Notice
    from tui_trainer.notify.notice_rules import NoticeRules, SeenRun
    from tui_trainer.notify.sender import Sender
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

_AGAIN_SECONDS = 1.1  # until a crash is certain
_FLUSH_SECONDS = 3.0


class ScreenNotifier:
    """Turns snapshots into notices, shows and sends them. Slow work runs in threads."""

    def __init__(self, app: AppSession, is_teaching_run: Callable[[Path], bool]) -> None:
        """`is_teaching_run` returns whether a run is a training of the chat, which reports its end
        itself."""
        self._app = app
        self._is_teaching_run = is_teaching_run
        self._started_at = time.time()
        self._rule: NoticeRules | None = None
        self._sender: Sender | None = None
        self._runs: dict[Path, RunSummary] = {}
        self._advised: tuple[Path, tuple[Advice, ...]] | None = None
        self._check_pending = False

    def take(self, view: FolderView) -> None:
        """Checks the runs that changed in a snapshot."""
        if view.problem is None:
            fresh = [run for run in view.runs if self._runs.get(run.path) is not run]
            if fresh:
                self._runs = {run.path: run for run in view.runs}
                self._check(fresh)
            if view.focused is not None and view.focused.advice_computed:
                self._take_advice(view.focused)

    def _take_advice(self, view: RunView) -> None:
        """Checks the advice that was computed here, for a run without an advisor."""
        advice = view.summary.path, view.advice or ()
        if advice != self._advised:
            self._advised = advice
            self._publish(self._rules().judged(seen_of(view.summary), advice[1], time.time()))

    def has_judged(self, path: Path) -> bool:
        """Whether advice on a run was checked before, so that later advice is new."""
        return self._rule is not None and self._rule.has_judged(path)

    def close(self) -> None:
        """Sends the pending notices, within a few seconds."""
        if self._sender is not None:
            self._sender.flush(_FLUSH_SECONDS)
            self._sender.close()

    def _check(self, runs: Iterable[RunSummary]) -> None:
        rule = self._rules()
        seen = [seen_of(run) for run in runs if not self._is_teaching_run(run.path)]
        self._publish(rule.take(seen, time.time()))
        if rule.waits and not self._check_pending:
            self._check_pending = True
            self._app.set_timer(_AGAIN_SECONDS, self._check_again)

    def _check_again(self) -> None:
        self._check_pending = False
        self._check([run for run in self._runs.values() if run.status == "crashed"])

    def _publish(self, notices: list[Notice]) -> None:
        for notice in notices:
            ends = notice.kind in ("crash", "failure", "finish")
            if not (ends and self._app.engines.reports_end(Path(notice.path))):
                self._app.show_notice(
                    notice.text, "information" if notice.kind == "finish" else "error"
                )
        if notices:
            if self._sender is None:
                self._sender = self._make_sender()
            self._sender.send(notices)

    def _make_sender(self) -> Sender:
        from tui_trainer.notify.sender import Sender, ways_of
        from tui_trainer.store.runs.sent_notices import claim

        settings = self._app.settings.notify
        stopping = threading.Event()
        return Sender(
            ways_of(settings, os.environ, lambda text: self._post(TerminalSignal(text)), stopping),
            settings,
            claim=claim,
            on_problem=lambda text: self._post(NoticePosted(text, "warning")),
            stopping=stopping,
        )

    def _post(self, message: Message) -> None:
        """Posts from other threads; messages after the end of the app are dropped."""
        if self._app.is_running:
            self._app.post_message(message)

    def _rules(self) -> NoticeRules:
        if self._rule is None:
            from tui_trainer.notify.notice_rules import NoticeRules

            self._rule = NoticeRules(self._app.settings.notify.on, self._started_at)
        return self._rule


def seen_of(run: RunSummary) -> SeenRun:
    """The facts about a run that the notice rules need."""
    from tui_trainer.notify.notice_rules import SeenRun

    gone = run.status == "crashed"
    return SeenRun(
        path=run.path,
        run=run.id,
        name=run.name,
        status=run.status,
        step=run.step,
        total_steps=run.total_steps,
        loss=run.loss,
        best_val_loss=run.best_val_loss,
        message="" if gone else run.message,  # its last message is about something else
        updated_at=run.updated_at,
        stalled=run.stalled,
        critical=run.critical,
        resume=f"to resume it: tui-trainer resume {run.path.name}" if gone and run.ours else "",
        foreign=run.kind != "run",
    )
