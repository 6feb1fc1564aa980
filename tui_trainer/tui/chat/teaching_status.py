"""Text about the active model, the feedback, and the current training. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from textual.content import Content

from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.contracts.teaching.training import TrainingRecord
from tui_trainer.repl.measures import measure_text
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, duration, number
from tui_trainer.tui.charts.blocks import sparkline
from tui_trainer.tui.charts.model import Marks
from tui_trainer.tui.chat.event_text import (
    buffer_text,
    live_text,
    training_state,
    weight_text,
)
from tui_trainer.tui.chat.loss_curve import LossCurve
from tui_trainer.tui.chat.transcript import Transcript
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import meter, truncated, wrapped
from tui_trainer.tui.common.panel import spread, stack

_LABEL = 9


@dataclass(frozen=True)
class FeedbackFacts:
    """The feedback buffer."""

    text: str = ""  # pending examples of the threshold; empty while nothing is known
    share: float | None = None  # pending examples by the threshold, 0..1; None without one
    weight: str = ""
    weight_share: float | None = None  # summed weight by its threshold, 0..1; None without one
    lacking: int = 0  # examples that need a correction


@dataclass(frozen=True)
class TrainingFacts:
    """The current training; `id` is empty if there is none."""

    id: str = ""
    state: str = ""
    step: str = ""
    learned: str = ""  # `8 of 10 learned`; empty if not counted
    share: float | None = None  # learned by all, or if not counted finished steps by all, 0..1
    losses: tuple[float, ...] = ()  # oldest first
    remaining: str = ""  # time
    queued: int = 0  # further trainings
    examples: int = 0


@dataclass(frozen=True)
class ResultFacts:
    """The result of the newest finished training."""

    state: str = ""
    adapter: str = ""
    recalled: str = ""
    kept: str = ""
    message: str = ""


@dataclass(frozen=True)
class TeachingFacts:
    """What the side panel shows."""

    model: str = ""  # the base
    loaded: str = ""  # size and device of the base, or that it is being loaded
    active: str = ""  # the active adapters
    feedback: FeedbackFacts = FeedbackFacts()
    training: TrainingFacts = TrainingFacts()
    result: ResultFacts = ResultFacts()
    trains_here: bool = True  # False if another session trains for this home folder
    watch_key: str = ""  # shows the training on the dashboard
    marks: Marks = "braille"


def teaching_facts_of(transcript: Transcript, watch_key: str, marks: Marks) -> TeachingFacts:
    """The panel's facts from the transcript; `watch_key` is the key that shows a training on the
    dashboard."""
    return TeachingFacts(
        model=clean(transcript.model),
        loaded=_loaded(transcript),
        active=clean(live_text(transcript.live)),
        feedback=feedback_facts_of(transcript),
        training=_training(transcript),
        result=_result(transcript.last_result),
        trains_here=transcript.trains_here,
        watch_key=watch_key,
        marks=marks,
    )


def feedback_facts_of(transcript: Transcript) -> FeedbackFacts:
    """The buffer's facts from the transcript."""
    buffer = transcript.buffer
    if buffer is None:
        return FeedbackFacts()
    return FeedbackFacts(
        text=buffer_text(buffer),
        share=buffer.count / buffer.threshold if buffer.threshold else None,
        weight=weight_text(buffer),
        weight_share=(buffer.weight / buffer.weight_threshold if buffer.weight_threshold else None),
        lacking=buffer.needs_correction,
    )


def feedback_lines(facts: FeedbackFacts, width: int) -> list[Content]:
    """Title, count, bars, and how many examples need a correction."""
    if not facts.text:
        return []
    lines = [
        Content.styled("feedback", "bold"),
        spread(Content(facts.text), Content.styled(facts.weight, "$faint"), width),
    ]
    lines += [meter(s, width) for s in (facts.share, facts.weight_share) if s is not None]
    if facts.lacking:
        text = f"! {formats.plural(facts.lacking, 'needs', 'need')} a correction"
        lines.append(Content.styled(text, run_status.CAUTION))
    return lines


def side_lines(facts: TeachingFacts, width: int) -> list[list[Content]]:
    """The blocks of the side panel, in order."""
    blocks = [
        [
            Content.styled("active model", "bold"),
            truncated(Content.styled(facts.active, "$accent"), width),
            truncated(Content.styled(f"{facts.model}{facts.loaded}", "$faint"), width),
        ],
        feedback_lines(facts.feedback, width),
        _training_lines(facts, width),
        _result_lines(facts.result, width),
    ]
    if not facts.trains_here:
        blocks.append([Content.styled("! another session trains", run_status.CAUTION)])
    return [block for block in blocks if block]


def one_line(facts: TeachingFacts, width: int) -> Content:
    """The most important facts in one line, for narrow terminals."""
    left = Content.assemble(" ", ("active ", "$faint"), (facts.active, "$accent"))
    right = _short_training(facts) if facts.training.id else _short_feedback(facts.feedback)
    return spread(left, Content.assemble(right, " "), width)


def blocks_of(facts: TeachingFacts, width: int) -> Content:
    """The side panel's content, with an empty line between blocks."""
    lines: list[Content] = []
    for block in side_lines(facts, width):
        lines += [*([Content("")] if lines else []), *block]
    return stack(*lines)


def _loaded(transcript: Transcript) -> str:
    if transcript.phase in ("opening", "loading"):
        return ", loading …"
    if transcript.phase == "ready" and transcript.facts is not None:
        size = number(float(transcript.facts.parameters), 3)
        return f", {size} parameters on {transcript.facts.device}"
    return ""


def _training(transcript: Transcript) -> TrainingFacts:
    record = transcript.current_training
    if record is None:
        return TrainingFacts()
    curve = transcript.curve
    return TrainingFacts(
        id=clean(record.id),
        state=_state_label(record.state, curve.status if curve else ""),
        step=_step_text(record),
        learned="" if record.learned is None else f"{record.learned} of {record.taught} learned",
        share=_done_share(record),
        losses=curve.losses if curve else (),
        remaining=_remaining_text(record, curve),
        queued=transcript.queued_trainings,
        examples=len(record.examples),
    )


def _remaining_text(record: TrainingRecord, curve: LossCurve | None) -> str:
    """The time remaining; before the first step, the time that the training was planned to take."""
    if curve is not None and curve.eta_seconds is not None:
        return duration(curve.eta_seconds)
    if record.state != "training" or record.step or record.expected_seconds is None:
        return ""
    return f"about {duration(record.expected_seconds)}"


def _step_text(record: TrainingRecord) -> str:
    """The step; of how many only where the number is fixed."""
    if record.total_steps is None:
        return ""
    if record.learned is not None:
        return formats.count(record.step)
    return f"{formats.count(record.step)} / {formats.count(record.total_steps)}"


def _done_share(record: TrainingRecord) -> float | None:
    if record.learned is not None and record.taught:
        return record.learned / record.taught
    return min(1.0, record.step / record.total_steps) if record.total_steps else None


def _state_label(state: str, status: str) -> str:
    """The state of a training; while it runs, that of its run: preparing, paused, saving."""
    return status if state == "training" and status in ACTIVE_STATES else state


def _result(record: TrainingRecord | None) -> ResultFacts:
    if record is None:
        return ResultFacts()
    return ResultFacts(
        state=record.state,
        adapter=clean(record.adapter or record.id),
        recalled=measure_text(record.before, record.after, "recalled"),
        kept=measure_text(record.before, record.after, "kept"),
        message=clean(record.message) if record.state != "live" else "",
    )


def _training_lines(facts: TeachingFacts, width: int) -> list[Content]:
    training = facts.training
    if not training.id:
        return []
    examples = formats.plural(training.examples, "example")
    lines = [
        spread(Content.styled("training", "bold"), _badge(training.state), width),
        spread(
            Content.assemble(("step ", "$faint"), training.step) if training.step else Content(""),
            Content.styled(training.learned or examples, "$faint"),
            width,
        ),
    ]
    if training.share is not None:
        lines.append(meter(training.share, width, _colour(training.state)))
    if training.losses:
        figure = sparkline(np.array(training.losses), max(6, width - 15), facts.marks)
        loss = Content.assemble(("loss ", "$faint"), number(training.losses[-1]))
        lines.append(spread(loss, Content.styled(figure, "$accent"), width))
    remaining = (
        Content.assemble(("remaining ", "$faint"), training.remaining)
        if training.remaining
        else Content("")
    )
    watch = Content.assemble((facts.watch_key, "bold $accent"), (" watch", "$faint"))
    lines.append(spread(remaining, watch, width))
    if training.queued:
        lines.append(Content.styled(f"{formats.count(training.queued)} more queued", "$faint"))
    return lines


def _result_lines(result: ResultFacts, width: int) -> list[Content]:
    if not result.state:
        return []
    lines = [
        spread(Content.styled("last training", "bold"), _badge(result.state), width),
        Content(result.adapter).truncate(width, ellipsis=True),
    ]
    for label, text in (("recalled", result.recalled), ("kept", result.kept)):
        lines.append(Content.assemble((f"{label:<{_LABEL}}", "$faint"), text))
    if result.message:
        colour = training_state(result.state)[1]
        lines += [line.stylize(colour) for line in wrapped(Content(result.message), width)[:4]]
    return lines


def _short_training(facts: TeachingFacts) -> Content:
    training = facts.training
    remaining = f"  remaining {training.remaining}" if training.remaining else ""
    return Content.assemble(
        _badge(training.state), " ", meter(training.share, 10, _colour(training.state)),
        f" {formats.percent(100 * (training.share or 0)):>5}", (remaining, "$faint"),
    )  # fmt: skip


def _short_feedback(facts: FeedbackFacts) -> Content:
    if not facts.text:
        return Content("")
    lacking = f"! {formats.count(facts.lacking)} to correct  " if facts.lacking else ""
    share = facts.share if facts.share is not None else facts.weight_share
    bar = meter(share, 8) if share is not None else Content("")
    return Content.assemble((lacking, run_status.CAUTION), facts.text, " ", bar)


def _badge(state: str) -> Content:
    return Content.styled(state, f"bold {_colour(state)}")


def _colour(state: str) -> str:
    return run_status.colour(state) if state in ACTIVE_STATES else training_state(state)[1]
