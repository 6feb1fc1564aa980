"""Somebody is told: notices on the runs of the folder, while the app is open."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.tui.messages import NoticePosted, TerminalSignal

if TYPE_CHECKING:  # loaded when the first runs were read
    from textual.message import Message

    from tui_trainer.contracts.advice import Advice
    from tui_trainer.contracts.notice import Notice
    from tui_trainer.notify.notice_rules import NoticeRules, SeenRun
    from tui_trainer.notify.sender import Sender
    from tui_trainer.tui.app import TrainerApp
    from tui_trainer.watch.snapshots import FolderView, RunSummary, RunView

_AGAIN_SECONDS = 1.1  # until a crash is certain
_FLUSH_SECONDS = 3.0


class ScreenNotifier:
    """Turns snapshots into notices, and has them told. Everything slow happens in threads."""

    def __init__(self, app: TrainerApp) -> None:
        self._app = app
        self._began = time.time()
        self._rule: NoticeRules | None = None
        self._sender: Sender | None = None
        self._runs: dict[Path, RunSummary] = {}
        self._advised: tuple[Path, tuple[Advice, ...]] | None = None
        self._waiting = False

    def take(self, view: FolderView) -> None:
        """Looks at the runs that changed."""
        if view.problem is None:
            fresh = [run for run in view.runs if self._runs.get(run.path) is not run]
            if fresh:
                self._runs = {run.path: run for run in view.runs}
                self._look(fresh)
            if view.focused is not None and view.focused.advice_computed:
                self._take_advice(view.focused)

    def _take_advice(self, view: RunView) -> None:
        """Looks at the advice that was computed here, on a run without an advisor."""
        advice = view.summary.path, view.advice or ()
        if advice != self._advised:
            self._advised = advice
            self._tell(self._made().judged(seen_of(view.summary), advice[1], time.time()))

    def has_judged(self, path: Path) -> bool:
        """Whether a run was judged here before, so that what comes is news."""
        return self._rule is not None and self._rule.has_judged(path)

    def close(self) -> None:
        """Has what waits told, within a few seconds."""
        if self._sender is not None:
            self._sender.flush(_FLUSH_SECONDS)
            self._sender.close()

    def _look(self, runs: Iterable[RunSummary]) -> None:
        rule = self._made()
        if "chatting" in vars(self._app):
            # The teaching's own trainings tell in the chat how they end.
            runs = [run for run in runs if not self._app.chatting.teaches(run.path)]
        seen = [seen_of(run) for run in runs]
        self._tell(rule.take(seen, time.time()))
        if rule.waits and not self._waiting:
            self._waiting = True
            self._app.set_timer(_AGAIN_SECONDS, self._look_again)

    def _look_again(self) -> None:
        self._waiting = False
        self._look([run for run in self._runs.values() if run.status == "crashed"])

    def _tell(self, notices: list[Notice]) -> None:
        for notice in notices:
            ends = notice.kind in ("crash", "failure", "finish")
            if not (ends and self._app.fleet.tells(Path(notice.path))):
                self._app.tell(notice.text, "information" if notice.kind == "finish" else "error")
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
        """From other threads; what comes after the app has ended is dropped."""
        if self._app.is_running:
            self._app.post_message(message)

    def _made(self) -> NoticeRules:
        if self._rule is None:
            from tui_trainer.notify.notice_rules import NoticeRules

            self._rule = NoticeRules(self._app.settings.notify.on, self._began)
        return self._rule


def seen_of(run: RunSummary) -> SeenRun:
    """What the rule needs to know of a run."""
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
        message="" if gone else run.message,  # its last words speak of something else
        updated_at=run.updated_at,
        stalled=run.stalled,
        critical=run.critical,
        resume=f"go on with: tui-trainer resume {run.path.name}" if gone and run.ours else "",
        foreign=run.kind != "run",
    )
