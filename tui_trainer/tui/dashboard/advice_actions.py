"""Advice on the dashboard: where it comes from, and what its keys do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.run import ACTIVE_STATES, Event
from tui_trainer.launch.rollback_offer import SPOILT, RollbackOffer, checkpoint_before, rollback
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui import keymap
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.dashboard.advice_panel import (
    AdviceFacts,
    AdviceText,
    advice_facts_of,
    lone_spike,
    newest_rate,
    open_advice,
)
from tui_trainer.tui.dashboard.hardware_warnings import alarms_said, open_alarms
from tui_trainer.tui.run_control import commands

if TYPE_CHECKING:
    from tui_trainer.tui.dashboard.screen import DashboardScreen
    from tui_trainer.watch.snapshots import RunView


class AdviceActions:
    """The advice on the run of a dashboard."""

    def __init__(self, page: DashboardScreen) -> None:
        self._page = page
        self._muted: dict[Path, frozenset[str]] = {}
        self._view: RunView | None = None
        self._offered: tuple[object, RollbackOffer | None] = ((), None)
        self._alarms: tuple[tuple[Event, ...], tuple[Event, ...]] = ((), ())

    def take(self, view: RunView | None) -> None:
        """Takes the newest view of the run."""
        self._view = view

    def facts(self, view: RunView) -> AdviceFacts:
        """What the panel shows."""
        offer = self._offer(view)
        act, hint = "", ""
        if offer is not None:
            act, hint = f"{self._key('apply')} roll back", offer.short
        elif view.commandable:
            advice = newest_rate(view, self._deaf(view))
            if advice is not None:
                act = f"{self._key('apply')} apply"
            elif self._spike(view) is not None:
                act = f"{self._key('apply')} go back"
            if advice is not None and advice.id in view.applied and advice.kind in SPOILT:
                hint = f"if it does not recover: {self._key('apply')} goes back"
        facts = advice_facts_of(view, view.advice_computed, self._deaf(view), act, hint)
        return replace(facts, said=self._with_alarms(view, facts.said))

    def _with_alarms(self, view: RunView, said: tuple[AdviceText, ...]) -> tuple[AdviceText, ...]:
        """What is about to run out stands behind what is critical, and before the rest."""
        if view.events is not self._alarms[0]:
            self._alarms = view.events, open_alarms(view.events)
        advised = any(one.kind == "memory" for one in said)
        alarms = alarms_said(view, self._alarms[1], self._deaf(view), memory_advised=advised)
        critical = sum(one.urgency == "critical" for one in said)
        return (*said[:critical], *alarms, *said[critical:])

    def apply(self) -> None:
        """Takes the newest advice's rate, or rolls an ended run back with it; where only a spike
        stands, asks whether to go back from it."""
        session, view = self._page.session, self._view
        advice = newest_rate(view, self._deaf(view))
        spike = self._spike(view) if view is not None else None
        if view is not None and spike is not None:
            self._ask_spike_back(view, spike)
            return
        if view is None or advice is None:
            session.tell("no open advice suggests a learning rate", "warning")
            return
        offer = self._offer(view)
        if offer is not None:
            self._ask_back(view, offer)
            return
        reason = commands.refusal(view.summary, "tui-trainer resume")
        if reason is not None:
            session.tell(reason, "warning")
        elif view.advice_computed:
            session.orders.send_rate(view.summary, advice.suggested_lr or 0.0)
        else:
            self._ask_engine(view, advice)

    def dismiss(self) -> None:
        """No more of the leading advice's kind: in the run where it has an advisor, else here."""
        session, view = self._page.session, self._view
        said = () if view is None else self.facts(view).said
        found = open_advice(view, self._deaf(view))
        if view is None or not said:
            session.tell("there is no open advice", "warning")
            return
        path = view.summary.path
        if said[0].alarm:
            self._muted[path] = self._deaf(view) | {said[0].alarm}
            session.tell(f"no more of the warning on {said[0].kind} of this run here")
            self._page.take(session.view)
            return
        kind = found[0].kind
        self._muted[path] = self._deaf(view) | {kind}
        engine = view.commandable and not view.advice_computed
        if engine and view.summary.status in ACTIVE_STATES:
            commands.ask(session.post_message, view.summary, "mute", {"kind": kind})
        else:
            session.tell(f"no more advice on {kind.replace('_', ' ')} of this run here")
        self._page.take(session.view)

    def _ask_engine(self, view: RunView, advice: Advice) -> None:
        """Has the engine take the rate, or go back first, where the weights may be spoilt and
        there is a checkpoint from before."""
        session, run = self._page.session, view.summary
        arguments = {"advice": advice.id}
        way = rollback(RunFolder(run.path), view.info, advice) if view.info is not None else None
        if way is None:

            def send() -> None:
                commands.ask(session.post_message, run, "apply", arguments)

            wanted = advice.suggested_lr or 0.0
            session.orders.ask_about_rise(RunFolder(run.path), wanted, send)
            return
        question = f"{advice.kind.replace('_', ' ')} since step {advice.step:,}"
        options = (
            ChoiceOption("rollback", "b", f"back to {way.checkpoint}, with a lower rate"),
            ChoiceOption("apply", "l", "lower the rate from here"),
            ChoiceOption("leave", "escape", "leave it"),
        )

        def decide(answer: str | None) -> None:
            if answer == "rollback":
                commands.ask(session.post_message, run, "rollback", arguments)
            elif answer == "apply":
                commands.ask(session.post_message, run, "apply", arguments)

        session.push_screen(ChoiceDialog(question, options), decide)

    def _spike(self, view: RunView) -> Advice | None:
        """The spike that a run under way can go back from, where nothing suggests a rate."""
        if not view.commandable or view.advice_computed:
            return None
        if view.summary.status not in ACTIVE_STATES:
            return None
        return lone_spike(view, self._deaf(view))

    def _ask_spike_back(self, view: RunView, spike: Advice) -> None:
        session, run = self._page.session, view.summary
        reason = commands.refusal(run, "tui-trainer resume")
        name = checkpoint_before(RunFolder(run.path), spike)
        if reason is None and name is None:
            reason = f"there is no checkpoint from before the spike at step {spike.step:,}"
        if reason is not None:
            session.tell(reason, "warning")
            return
        question = f"loss spike at step {spike.step:,}: it may pass by itself"
        options = (
            ChoiceOption("rollback", "b", f"back to {name}, with half the rate"),
            ChoiceOption("leave", "escape", "leave it"),
        )

        def decide(answer: str | None) -> None:
            if answer == "rollback":
                commands.ask(session.post_message, run, "rollback", {"advice": spike.id})

        session.push_screen(ChoiceDialog(question, options), decide)

    def _ask_back(self, view: RunView, offer: RollbackOffer) -> None:
        session = self._page.session
        if session.monitor_only:
            session.tell(offer.words, "warning")
            return
        question = (
            f"Go back to {offer.checkpoint} of {clean(view.summary.name)} and on with a peak "
            f"rate of {formats.rate(offer.peak)}?"
        )
        options = (
            ChoiceOption("back", "y", "roll back"),
            ChoiceOption("stay", "escape", "leave it"),
        )

        def decide(answer: str | None) -> None:
            if answer == "back":
                folder = RunFolder(view.summary.path)
                session.fleet.start(folder, offer.checkpoint, offer.peak)
                session.tell(f"rolling back to {offer.checkpoint}")

        session.push_screen(ChoiceDialog(question, options), decide)

    def _offer(self, view: RunView) -> RollbackOffer | None:
        """The way back from a run that ended badly; looked up once for each end."""
        if view.info is None or view.summary.status in (*ACTIVE_STATES, "idle", "completed"):
            return None
        advice = newest_rate(view, self._deaf(view))
        key = (view.summary.path, view.summary.updated_at, advice)
        if key != self._offered[0]:
            folder = RunFolder(view.summary.path)
            self._offered = key, None if advice is None else rollback(folder, view.info, advice)
        return self._offered[1]

    def _deaf(self, view: RunView | None) -> frozenset[str]:
        return self._muted.get(view.summary.path, frozenset()) if view is not None else frozenset()

    def _key(self, id: str) -> str:
        key = next(key for key in keymap.KEYS if key.id == id)
        return self._page.session.keymap.shown(key)
