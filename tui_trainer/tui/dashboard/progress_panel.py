"""The progress of a run: status, step, epoch, speed, time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from textual.content import Content

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, number
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import meter, wrapped
from tui_trainer.tui.common.panel import Panel, spread, stack
from tui_trainer.watch.snapshots import RunView

_STEPS = 50  # of which the speed is the mean
_LABEL, _RIGHT = 7, 10  # cells of a label in the left and in the right column


@dataclass(frozen=True)
class ProgressLines:
    """What the panel shows, as text."""

    status: str = "unknown"
    step: str = ""
    fraction: float | None = None  # of the steps, 0..1; None while the total is unknown
    epoch: str = ""
    speed: str = ""  # tokens per second
    samples: str = ""  # training examples per second
    end: str = ""  # time of day when the run is expected to end
    elapsed: str = ""
    remaining: str = ""
    rate: str = ""  # learning rate
    norm: str = ""  # of the gradients
    note: str = ""  # how long there was no update, or the engine's message


def progress_of(view: RunView | None, now: float | None = None) -> ProgressLines:
    """The facts of a run. `now` is in seconds since the epoch."""
    if view is None:
        return ProgressLines()
    summary, state = view.summary, view.state
    step, total = summary.step or 0, summary.total_steps
    epoch = view.train.last("epoch")
    norm = view.train.last("gradient_norm")
    epochs = state.total_epochs if state else None
    now = time.time() if now is None else now
    eta = summary.eta_seconds if summary.status in ACTIVE_STATES else None
    return ProgressLines(
        status=summary.shown_status,
        step=formats.steps(step, total),
        fraction=min(1.0, step / total) if total else None,
        epoch=_epoch_text(epoch, epochs),
        speed=formats.count(summary.tokens_per_second),
        samples=number(_samples_per_second(view), 3),
        end="" if summary.status == "paused" else _end_text(eta, now),
        elapsed=formats.duration(_elapsed(view)),
        remaining=formats.duration(eta),
        rate=formats.rate(view.train.last("learning_rate")),
        norm="" if norm is None else number(norm),
        note=_note(view, now),
    )


class ProgressPanel(Panel[ProgressLines]):
    """A block of lines, or one line where there is no room for more."""

    def __init__(self) -> None:
        super().__init__(ProgressLines(), id="progress")

    def draw(self, facts: ProgressLines, width: int, height: int) -> Content:
        return _line(facts, width) if height == 1 else _block(facts, width)


def _epoch_text(epoch: float | None, total: float | None) -> str:
    if epoch is None:
        return ""
    done = formats.percent(100 * (epoch % 1 or (1.0 if epoch else 0.0)))
    whole = formats.short_number(total) if total else ""
    return f"{number(epoch, 3)} / {whole} ({done})" if whole else f"{number(epoch, 3)} ({done})"


def _samples_per_second(view: RunView) -> float | None:
    """The training examples per second of the newest steps."""
    train = view.train
    examples, milliseconds = train.column("examples")[-_STEPS:], train.column("step_time_ms")
    milliseconds = milliseconds[-_STEPS:]
    if len(examples) != len(milliseconds):
        return None
    known = np.isfinite(examples) & np.isfinite(milliseconds)
    seconds = float(milliseconds[known].sum()) / 1000
    return float(examples[known].sum()) / seconds if seconds > 0 else None


def _end_text(remaining: float | None, now: float) -> str:
    """The time of day of the end, and in how many days that is."""
    if remaining is None:
        return ""
    text = formats.clock(now + remaining, with_seconds=False)
    days = int(remaining // 86_400)
    return f"{text} +{days} d" if days else text


def _elapsed(view: RunView) -> float | None:
    if view.state is not None:
        return view.state.elapsed_seconds
    times = view.train.column("time")
    return float(times[-1] - times[0]) if len(times) > 1 else None


def _note(view: RunView, now: float) -> str:
    """How long there was no update, or the engine's message."""
    summary = view.summary
    if summary.status in ("unknown", "stale") and summary.updated_at:
        return f"no update for {formats.age(max(0.0, now - summary.updated_at))}"
    return clean(summary.message) if summary.status in (*ACTIVE_STATES, "idle") else ""


_LEAST_BAR = 6  # cells; a shorter bar is left out
_SHARE = 8  # cells of the percentage with its spaces


def _line(facts: ProgressLines, width: int) -> Content:
    badge = run_status.badge(facts.status)
    if facts.status == "evaluating" and facts.note:
        # The progress of the evaluation, in place of that of the training.
        return spread(
            Content.assemble(" ", badge), Content.styled(f"{facts.note} ", "$faint"), width
        )
    left = Content.assemble(" ", badge, ("  step ", "$faint"), facts.step, "  ")
    speeds = Content.assemble(("  tok/s ", "$faint"), facts.speed)
    remaining = Content.assemble(("remaining ", "$faint"), facts.remaining)
    right = remaining + speeds + " "
    samples = Content.assemble(("  smp/s ", "$faint"), facts.samples)
    whole = remaining + speeds + samples + " "
    if facts.samples and width - left.cell_length - whole.cell_length >= _SHARE:
        right = whole
    room = width - left.cell_length - right.cell_length - _SHARE
    if facts.fraction is None or room < 0:
        return spread(left, right, width)
    percent = formats.percent(100 * facts.fraction)
    bar = min(room, 24)
    share = Content(percent)
    if bar >= _LEAST_BAR:
        drawn = meter(facts.fraction, bar, run_status.colour(facts.status))
        share = Content.assemble(drawn, f" {percent:>5}")
    return spread(left + share, right, width)


def _block(facts: ProgressLines, width: int) -> Content:
    half = width // 2
    share = "" if facts.fraction is None else formats.percent(100 * facts.fraction)
    bar_width = width if facts.fraction is not None else 0
    badge, note = run_status.badge(facts.status), Content.styled(facts.note, "$faint")
    speeds = [
        _columns(_pair("tok/s", facts.speed), _pair("elapsed", facts.elapsed, _RIGHT), half),
        _columns(_pair("smp/s", facts.samples), _pair("remaining", facts.remaining, _RIGHT), half),
    ]
    if facts.status == "evaluating" and badge.cell_length + note.cell_length >= width:
        # The progress of the evaluation, in place of the speeds of the training.
        wrapped_note = wrapped(note, width)
        speeds = (wrapped_note + [Content("")] * len(speeds))[: len(speeds)]
        note = Content("")
    lines = [
        spread(badge, note, width),
        spread(_pair("step", facts.step), Content(share), width),
        meter(facts.fraction, bar_width, run_status.colour(facts.status)),
        spread(_pair("epoch", facts.epoch), _ends(facts.end), width),
        *speeds,
        _columns(_pair("lr", facts.rate), _pair("grad", facts.norm, _RIGHT), half),
    ]
    return stack(*lines)


def _ends(end: str) -> Content:
    """When the run is expected to end."""
    return Content.assemble(("ends ", "$faint"), end) if end else Content("")


def _pair(label: str, value: str, width: int = _LABEL) -> Content:
    return Content.assemble((f"{label:<{width}}", "$faint"), value or formats.MISSING)


def _columns(left: Content, right: Content, half: int) -> Content:
    return Content.assemble(left.truncate(half, ellipsis=True, pad=True), right)
