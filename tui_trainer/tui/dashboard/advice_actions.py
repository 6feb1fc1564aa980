"""The advice on the run of the dashboard, and the actions of its keys."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tui_trainer.contracts.advice import Advice
from tui_trainer.contracts.runs.run import ACTIVE_STATES, Event
from tui_trainer.launch.rollback_offer import (
    DAMAGING_KINDS,
    RollbackOffer,
    checkpoint_before,
    find_offer,
)
from tui_trainer.store.runs.run_folder import RunFolder
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.dialogs.choice import ChoiceDialog, ChoiceOption
from tui_trainer.tui.dashboard.advice_panel import (
    AdviceFacts,
    AdviceText,
    advice_facts_of,
    lone_spike,
    newest_rate,
    open_advice,
)
from tui_trainer.tui.dashboard.hardware_warnings import open_warnings, warning_texts
from tui_trainer.tui.dashboard.run_page import RunPage
from tui_trainer.tui.run_control import commands
from tui_trainer.tui.run_control.learning_rate import confirm_rise, send_rate

if TYPE_CHECKING:
    from tui_trainer.watch.snapshots import RunView


class AdviceActions(RunPage):
    """A page with the advice on a run and the actions on it."""

    def __init__(self) -> None:
        super().__init__()
        self._muted: dict[Path, frozenset[str]] = {}  # kinds of advice and ids of warnings by run
        self._last_offer: tuple[object, RollbackOffer | None] = ((), None)  # key and result
        # The events that were searched, and the open warnings among them.
        self._open_warnings: tuple[tuple[Event, ...], tuple[Event, ...]] = ((), ())

    def advice_facts(self, view: RunView) -> AdviceFacts:
        """The facts for the advice panel."""
        offer, muted = self._rollback_offer(view), self._muted_kinds(view)
        key = self.session.keymap.shown_by_id("apply")
        action, hint = "", ""
        if offer is not None:
            action, hint = f"{key} roll back", offer.hint
        elif view.commandable:
            advice = newest_rate(view, muted)
            if advice is not None:
                action = f"{key} apply"
            elif self._open_spike(view) is not None:
                action = f"{key} roll back"
            if advice is not None and advice.id in view.applied and advice.kind in DAMAGING_KINDS:
                hint = f"if the loss does not recover: {key} rolls back"
        facts = advice_facts_of(view, view.advice_computed, muted, action, hint)
        return replace(facts, items=self._with_warnings(view, facts.items))

    def _with_warnings(
        self, view: RunView, items: tuple[AdviceText, ...]
    ) -> tuple[AdviceText, ...]:
        """Insert the hardware warnings after critical advice and before the rest."""
        if view.events is not self._open_warnings[0]:
            self._open_warnings = view.events, open_warnings(view.events)
        advised = any(one.kind == "memory" for one in items)
        warnings = warning_texts(
            view, self._open_warnings[1], self._muted_kinds(view), memory_advised=advised
        )
        critical = sum(one.urgency == "critical" for one in items)
        return (*items[:critical], *warnings, *items[critical:])

    def action_apply_advice(self) -> None:
        """Apply the learning rate of the current advice, or roll an ended run back with it; if
        there is only a loss spike, ask whether to roll back."""
        session, view = self.session, self._run_view
        advice = newest_rate(view, self._muted_kinds(view))
        spike = self._open_spike(view) if view is not None else None
        if view is not None and spike is not None:
            self._confirm_spike_rollback(view, spike)
            return
        if view is None or advice is None:
            session.show_notice("no open advice suggests a learning rate", "warning")
            return
        offer = self._rollback_offer(view)
        if offer is not None:
            self._confirm_rollback(view, offer)
            return
        reason = commands.refusal(view.summary)
        if reason is not None:
            session.show_notice(reason, "warning")
        elif view.advice_computed:
            send_rate(session, view.summary, advice.suggested_lr or 0.0)
        else:
            self._ask_engine(view, advice)

    def action_dismiss_advice(self) -> None:
        """Mute the kind of the current advice: in the run if it has an advisor, else in this
        session."""
        session, view = self.session, self._run_view
        items = () if view is None else self.advice_facts(view).items
        if view is None or not items:
            session.show_notice("there is no open advice", "warning")
            return
        path, muted, first = view.summary.path, self._muted_kinds(view), items[0]
        if first.warning:
            self._muted[path] = muted | {first.warning}
            session.show_notice(
                f"warnings about {first.kind} are muted for this run until you quit"
            )
            self.show_snapshot(session.view)
            return
        kind = open_advice(view, muted)[0].kind
        self._muted[path] = muted | {kind}
        has_advisor = view.commandable and not view.advice_computed
        if has_advisor and view.summary.status in ACTIVE_STATES:
            commands.ask(session.post_message, view.summary, "mute", {"kind": kind})
        else:
            session.show_notice(f"advice on {first.kind} is muted for this run until you quit")
        self.show_snapshot(session.view)

    def _ask_engine(self, view: RunView, advice: Advice) -> None:
        """Send the rate to the engine. If the weights may be damaged and there is an earlier
        checkpoint, ask whether to roll back first."""
        session, run = self.session, view.summary
        arguments = {"advice": advice.id}
        offer = (
            find_offer(RunFolder(run.path), view.info, advice) if view.info is not None else None
        )
        if offer is None:

            def send() -> None:
                commands.ask(session.post_message, run, "apply", arguments)

            wanted = advice.suggested_lr or 0.0
            confirm_rise(session, RunFolder(run.path), wanted, send)
            return
        kind, step = advice.kind.replace("_", " "), formats.count(advice.step)
        question = f"{kind} since step {step}: the weights may be damaged"
        options = (
            ChoiceOption("rollback", "b", f"roll back to {offer.checkpoint}, lower the rate"),
            ChoiceOption("apply", "l", "only lower the rate"),
            ChoiceOption("leave", "escape", "cancel"),
        )

        def decide(answer: str | None) -> None:
            if answer == "rollback":
                commands.ask(session.post_message, run, "rollback", arguments)
            elif answer == "apply":
                commands.ask(session.post_message, run, "apply", arguments)

        session.push_screen(ChoiceDialog(question, options), decide)

    def _open_spike(self, view: RunView) -> Advice | None:
        """The loss spike that an active run can be rolled back from, if no advice has a rate."""
        if not view.commandable or view.advice_computed:
            return None
        if view.summary.status not in ACTIVE_STATES:
            return None
        return lone_spike(view, self._muted_kinds(view))

    def _confirm_spike_rollback(self, view: RunView, spike: Advice) -> None:
        session, run = self.session, view.summary
        reason = commands.refusal(run)
        name = checkpoint_before(RunFolder(run.path), spike)
        step = formats.count(spike.step)
        if reason is None and name is None:
            reason = f"there is no checkpoint before the spike at step {step}"
        if reason is not None:
            session.show_notice(reason, "warning")
            return
        question = f"loss spike at step {step}: the loss may recover without a rollback"
        options = (
            ChoiceOption("rollback", "b", f"roll back to {name}, half the rate"),
            ChoiceOption("leave", "escape", "cancel"),
        )

        def decide(answer: str | None) -> None:
            if answer == "rollback":
                commands.ask(session.post_message, run, "rollback", {"advice": spike.id})

        session.push_screen(ChoiceDialog(question, options), decide)

    def _confirm_rollback(self, view: RunView, offer: RollbackOffer) -> None:
        session = self.session
        if session.monitor_only:
            session.show_notice(offer.message, "warning")
            return
        question = (
            f"Roll {clean(view.summary.name)} back to {offer.checkpoint} and resume it with a peak "
            f"learning rate of {formats.rate(offer.peak)}?"
        )
        options = (
            ChoiceOption("back", "y", "roll back"),
            ChoiceOption("stay", "escape", "cancel"),
        )

        def decide(answer: str | None) -> None:
            if answer == "back":
                self._roll_back(view, offer)

        session.push_screen(ChoiceDialog(question, options), decide)

    def _roll_back(self, view: RunView, offer: RollbackOffer) -> None:
        folder = RunFolder(view.summary.path)
        self.session.engines.start(folder, offer.checkpoint, offer.peak)
        self.session.show_notice(f"rolling back to {offer.checkpoint}")

    def way_out(self, view: RunView) -> str:
        """What can be done next with an ended run, by which keys: only what works."""
        session, run = self.session, view.summary
        if session.monitor_only or not run.ours:
            return session.resume_hint(run) if run.status in run_status.RESUMABLE else ""
        keys = session.keymap
        anew = f"{keys.shown_by_id('again')} begins anew with other settings"
        if run.status not in run_status.RESUMABLE:
            command = f"tui-trainer evaluate {shlex.quote(clean(run.name))} --data FILE"
            return f"{keys.shown_by_id('adopt')} adds it to the adapters; {command} scores it"
        offer = self._rollback_offer(view)
        if offer is not None:
            return f"{keys.shown_by_id('apply')} goes back {offer.hint}; {anew}"
        if self.is_damaged(view):
            return f"{anew}: no checkpoint is from before it went wrong"
        if not any(event.kind == "checkpoint" for event in view.events):
            return f"{keys.shown_by_id('resume_run')} starts it again from step 0; {anew}"
        return session.resume_hint(run)

    def asks_before_resume(self) -> bool:
        """Ask how to go on with an ended run that went wrong; False if it did not."""
        view = self._run_view
        if view is None or not self.is_damaged(view):
            return False
        run, offer = view.summary, self._rollback_offer(view)
        question = f"{clean(run.name)} went wrong, and its newest checkpoint may be from after that"
        options = [
            ChoiceOption("resume", "r", "resume from the newest checkpoint anyway"),
            ChoiceOption("stay", "escape", "cancel"),
        ]
        if offer is not None:
            options.insert(0, ChoiceOption("back", "b", f"go back {offer.hint}"))

        def decide(answer: str | None) -> None:
            if answer == "back" and offer is not None:
                self._roll_back(view, offer)
            elif answer == "resume":
                self.session.engines.start(RunFolder(run.path))
                self.session.show_notice(f"resuming {clean(run.name)}")

        self.session.push_screen(ChoiceDialog(question, tuple(options)), decide)
        return True

    def is_damaged(self, view: RunView) -> bool:
        """Whether an ended run went wrong, so that its last weights cannot be trained further."""
        advice = newest_rate(view, self._muted_kinds(view))
        return advice is not None and advice.kind in DAMAGING_KINDS

    def _rollback_offer(self, view: RunView) -> RollbackOffer | None:
        """The rollback that is offered for a run that failed or was stopped; computed once for
        each end."""
        if view.info is None or view.summary.status in (*ACTIVE_STATES, "idle", "completed"):
            return None
        advice = newest_rate(view, self._muted_kinds(view))
        key = (view.summary.path, view.summary.updated_at, advice)
        if key != self._last_offer[0]:
            folder = RunFolder(view.summary.path)
            self._last_offer = (
                key,
                None if advice is None else find_offer(folder, view.info, advice),
            )
        return self._last_offer[1]

    def _muted_kinds(self, view: RunView | None) -> frozenset[str]:
        return self._muted.get(view.summary.path, frozenset()) if view is not None else frozenset()
