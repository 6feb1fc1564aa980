"""Which step's weights a run's adapter has, in words."""

from __future__ import annotations

from tui_trainer.contracts.runs.run import RunState
from tui_trainer.text import formats


def text(state: RunState | None) -> str | None:
    """The step, and its score where it is the best evaluation; None if it is unknown."""
    if state is None or state.saved_step is None:
        return None
    step, best = formats.count(state.saved_step), state.best
    if best is None:
        return step
    score = f"{best.metric} {formats.number(best.value)}"
    if best.step == state.saved_step:
        return f"{step}, the best ({score})"
    return f"{step}; the best is {formats.count(best.step)} ({score})"
