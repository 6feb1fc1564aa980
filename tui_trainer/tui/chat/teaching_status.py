"""Text about the active model, the feedback, and the current training. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from textual.content import Content

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.contracts.teaching import TrainingRecord
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, duration, number
from tui_trainer.tui.charts.blocks import sparkline
from tui_trainer.tui.charts.model import Marks
from tui_trainer.tui.chat.event_text import (
    buffer_text,
    live_text,
    measure_text,
    training_state,
    weight_text,
)
from tui_trainer.tui.chat.transcript import Transcript
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import meter, wrapped
from tui_trainer.tui.common.panel import spread, stack

_LABEL = 9


@dataclass(frozen=True)
class FeedbackFacts:
    """The feedback buffer; `text` is empty while nothing is known.

    `share` and `weight_share` are 0..1 of the thresholds, None without one; `lacking` counts
    examples that need a correction.
    """

    text: str = ""
    share: float | None = None
    weight: str = ""
    weight_share: float | None = None
    lacking: int = 0


@dataclass(frozen=True)
class TrainingFacts:
    """The current training; `share` is learned corrections by all, or where they are not counted
    done steps by all, 0..1."""

    id: str = ""
    state: str = ""
    step: str = ""
    learned: str = ""
    share: float | None = None
    losses: tuple[float, ...] = ()
    remaining: str = ""
    queued: int = 0
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

    model: str = ""
    loaded: str = ""
    answers: str = ""
    feedback: FeedbackFacts = FeedbackFacts()
    training: TrainingFacts = TrainingFacts()
    result: ResultFacts = ResultFacts()
    teaches: bool = True
    watch_key: str = ""
    marks: Marks = "braille"


def teaching_facts_of(talk: Transcript, watch_key: str, marks: Marks) -> TeachingFacts:
    """The panel's facts from the transcript; `watch_key` is the key that shows a training on the
    dashboard."""
    return TeachingFacts(
        model=clean(talk.model),
        loaded=_loaded(talk),
        answers=clean(live_text(talk.live)),
        feedback=feedback_facts_of(talk),
        training=_training(talk),
        result=_result(talk.last_result),
        teaches=talk.teaches,
        watch_key=watch_key,
        marks=marks,
    )


def feedback_facts_of(talk: Transcript) -> FeedbackFacts:
    """The buffer's facts from the transcript."""
    buffer = talk.buffer
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
        one = "needs" if facts.lacking == 1 else "need"
        lines.append(Content.styled(f"! {facts.lacking} {one} a correction", run_status.CAUTION))
    return lines


def side_lines(facts: TeachingFacts, width: int) -> list[list[Content]]:
    """The blocks of the side panel, in order."""
    blocks = [
        [
            Content.styled("active model", "bold"),
            Content.styled(facts.answers, "$accent").truncate(width, ellipsis=True),
            Content.styled(f"{facts.model}{facts.loaded}", "$faint").truncate(width, ellipsis=True),
        ],
        feedback_lines(facts.feedback, width),
        _training_lines(facts, width),
        _result_lines(facts.result, width),
    ]
    if not facts.teaches:
        blocks.append([Content.styled("! another session trains", run_status.CAUTION)])
    return [block for block in blocks if block]


def one_line(facts: TeachingFacts, width: int) -> Content:
    """The most important facts in one line, for narrow terminals."""
    left = Content.assemble(" ", ("active ", "$faint"), (facts.answers, "$accent"))
    right = _short_training(facts) if facts.training.id else _short_feedback(facts.feedback)
    return spread(left, Content.assemble(right, " "), width)


def blocks_of(facts: TeachingFacts, width: int) -> Content:
    """The side panel's content, with an empty line between blocks."""
    lines: list[Content] = []
    for block in side_lines(facts, width):
        lines += [*([Content("")] if lines else []), *block]
    return stack(*lines)


def _loaded(talk: Transcript) -> str:
    if talk.phase in ("opening", "loading"):
        return ", loading …"
    if talk.phase == "ready" and talk.facts is not None:
        size = number(float(talk.facts.parameters), 3)
        return f", {size} parameters on {talk.facts.device}"
    return ""


def _training(talk: Transcript) -> TrainingFacts:
    record = talk.under_way
    if record is None:
        return TrainingFacts()
    curve = talk.curve
    return TrainingFacts(
        id=clean(record.id),
        state=_state_label(record.state, curve.status if curve else ""),
        step=_step_text(record),
        learned="" if record.learned is None else f"{record.learned} of {record.taught} learned",
        share=_done_share(record),
        losses=curve.losses if curve else (),
        remaining=duration(curve.eta_seconds) if curve and curve.eta_seconds is not None else "",
        queued=talk.queued,
        examples=len(record.examples),
    )


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
    """While a training runs, its run's state is more exact: preparing, paused, saving."""
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
    examples = f"{training.examples} example{'' if training.examples == 1 else 's'}"
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
        lines.append(Content.styled(f"{training.queued} more queued", "$faint"))
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
    remaining = f"  {training.remaining} left" if training.remaining else ""
    return Content.assemble(
        _badge(training.state), " ", meter(training.share, 10, _colour(training.state)),
        f" {formats.percent(100 * (training.share or 0)):>5}", (remaining, "$faint"),
    )  # fmt: skip


def _short_feedback(facts: FeedbackFacts) -> Content:
    if not facts.text:
        return Content("")
    lacking = f"! {facts.lacking} to correct  " if facts.lacking else ""
    share = facts.share if facts.share is not None else facts.weight_share
    bar = meter(share, 8) if share is not None else Content("")
    return Content.assemble((lacking, run_status.CAUTION), facts.text, " ", bar)


def _badge(state: str) -> Content:
    return Content.styled(state, f"bold {_colour(state)}")


def _colour(state: str) -> str:
    return run_status.colour(state) if state in ACTIVE_STATES else training_state(state)[1]
