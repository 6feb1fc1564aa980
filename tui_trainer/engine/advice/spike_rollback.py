"""Automatic rollback from a loss spike that lasts."""

from __future__ import annotations

from tui_trainer.contracts.advice import Advice
from tui_trainer.engine.advice import request_rollback
from tui_trainer.engine.state.session import Session
from tui_trainer.text.formats import count

# A single bad batch affects one record, and most spikes end within a few. A spike lasts where this
# many newest records after it all keep at least this share of its height. The advisor reports a
# divergence after four extreme records, too.
ROWS, SHARE = 4, 0.5


def lasting(session: Session) -> Advice | None:
    """Return the open spike from which the loss has not recovered. It follows from the records and
    from state that checkpoints save, so that a resumed run finds the same."""
    advice, state = request_rollback.open_spike(session), session.state
    if advice is None or state.step < advice.updated_step + ROWS or len(state.recent) < ROWS:
        return None
    level, value = advice.evidence.level, advice.evidence.value
    if level is None or value is None:
        return None
    limit = level + SHARE * (value - level)
    return advice if min(state.recent[-ROWS:]) > limit else None


def act(session: Session) -> None:
    """Request a rollback from a spike that lasts; where that is impossible, log it once."""
    advice, state = lasting(session), session.state
    if advice is None or state.applied.get(advice.id) == advice.updated_step:
        return
    if state.changes >= session.advisor_settings.max_changes:
        return
    refused = _request(session, advice)
    if refused is None:
        state.changes += 1
        return
    state.applied[advice.id] = advice.updated_step
    message = f"the loss stays high after the spike at step {count(advice.step)}, but {refused}"
    session.report.event("warning", state.step, message, detail={"advice": advice.id})


def _request(session: Session, advice: Advice) -> str | None:
    good = advice.good_step
    before = [] if good is None else request_rollback.setbacks_near(session.state, good)
    if len(before) >= request_rollback.MOST_SETBACKS:
        return f"{len(before)} rollbacks did not help: look at the data there"
    return request_rollback.request(session, advice, "auto")
