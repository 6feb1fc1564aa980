"""The pages of a run's details as text. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from textual.content import Content

from tui_trainer.contracts.runs.metrics import GradientCheck
from tui_trainer.contracts.runs.run import ACTIVE_STATES
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, clock, duration, number
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import beside, plain, wrapped
from tui_trainer.tui.runs.run_rows import spark_text, trend_text
from tui_trainer.watch.runs import saved_step
from tui_trainer.watch.runs.details import run_diff
from tui_trainer.watch.runs.details.run_details import (
    CheckpointFacts,
    MetricRange,
    RunDetails,
    measured,
)
from tui_trainer.watch.snapshots import RunSummary, RunView

_LABEL = 25
_LEAST_VALUE = 10  # cells beside a label
_MOST_EVENTS = 500
_WIDE = 100  # cells from which checkpoints have all columns
Page = Callable[[RunDetails, int], Content]
# Title, cells, text, and whether the column is only on a wide screen.
_CheckpointColumn = tuple[str, int, Callable[[CheckpointFacts], str], bool]
_CHECKPOINT_COLUMNS: tuple[_CheckpointColumn, ...] = (
    ("name", 13, lambda item: item.name, False),
    ("epoch", 5, lambda item: number(item.epoch, 3), False),
    ("loss", 6, lambda item: number(item.loss), False),
    ("accuracy", 8, lambda item: formats.score(item.accuracy), True),
    ("val_loss", 8, lambda item: number(item.val_loss), False),
    ("val acc", 7, lambda item: formats.score(item.val_accuracy), True),
    ("saved", 16, lambda item: formats.moment(item.saved_at), False),
    ("size", 9, lambda item: formats.size(item.bytes), True),
)


def head(view: RunView, run: RunSummary) -> Content:
    """Name, state, and whether the run accepts commands."""
    commands = ("accepts commands", "$success") if run.commandable else (read_only(run), "$faint")
    status = run_status.badge(view.summary.shown_status)
    return Content.assemble(plain(run.name, "bold"), "  ", status, "  ", commands)


def read_only(run: RunSummary) -> str:
    """Why a run accepts no commands, in a few words."""
    if run.kind != "run":
        return f"read-only: written by {clean(run.tool)}"
    if run.status in ACTIVE_STATES:
        return "read-only: its process is not running"
    return "read-only: the run has ended"


def facts(known: RunDetails, width: int) -> Content:
    """Path, tool, warnings, what is not recorded, origin and results."""
    view = known.view
    run = view.summary
    lines = [fact("path", str(run.path), width), fact("tool", run.tool, width)]
    if run.message:
        lines.append(fact("message", run.message, width))
    lines += [fact("warning", text, width, "$warning") for text in view.warnings]
    if view.lacks:
        lines.append(fact("not recorded", ", ".join(view.lacks), width))
    lines += [Content(""), *_origin(view, width), Content(""), *_results(view, width)]
    if known.gradients is not None:
        lines += [Content(""), *_gradients(known.gradients, width)]
    return page(lines)


def configuration(known: RunDetails, width: int) -> Content:
    """Every setting, by section."""
    lines: list[Content] = []
    section = None
    for key, value in known.view.config.items():
        before, dot, name = key.rpartition(".")
        if dot and before != section:
            lines += [Content(""), Content.styled(clean(before), "bold $accent")]
        elif not dot and section:
            lines.append(Content(""))
        section = before if dot else ""
        lines.append(fact(name if dot else key, _value_text(value), width))
    return page(lines) if lines else not_recorded(known, "configuration")


def events(known: RunDetails, width: int) -> Content:
    """The events, newest first."""
    listed = known.view.events[: -_MOST_EVENTS - 1 : -1]
    lines: list[Content] = []
    for event in listed:
        head = Content.assemble(
            (f"{clock(event.time)}  {formats.count(event.step):>9}  ", "$faint"),
            (f"{clean(event.kind):<14} ", "$accent"),
        )
        text = plain(event.message or _value_text(event.detail))
        lines += beside(head, text, max(width, head.cell_length + _LEAST_VALUE))
    left_out = len(known.view.events) - len(listed)
    if left_out:
        lines.append(
            Content.styled(f"{formats.plural(left_out, 'earlier event')} not shown", "$faint")
        )
    return page(lines) if lines else not_recorded(known, "events")


def checkpoints(known: RunDetails, width: int) -> Content:
    """Name, epoch, scores, date and size, and whether it is complete."""
    if not known.checkpoints:
        return not_recorded(known, "checkpoints")
    wide = width >= _WIDE
    columns = [column for column in _CHECKPOINT_COLUMNS if wide or not column[3]]
    title = "  ".join(f"{name:>{cells}}" for name, cells, _, _ in columns)
    return page(
        [
            Content.styled(f"{title}  state", "$faint"),
            *(_checkpoint(item, columns) for item in reversed(known.checkpoints)),
        ]
    )


def hardware(known: RunDetails, width: int) -> Content:
    """The newest and the greatest values measured during the run."""
    found = measured(known.view.hardware)
    if not found:
        return not_recorded(known, "hardware samples")
    title = f"{'':<{_LABEL}} {'last':>12} {'peak':>12}"
    last = known.view.hardware[-1]
    notes = [] if last.gpus or not last.gpu_message else [fact("GPU", last.gpu_message, width)]
    return page([Content.styled(title, "$faint"), *(_measured(one) for one in found), *notes])


def log(known: RunDetails, width: int) -> Content:
    """The end of the training process's output."""
    printed = known.log or known.view.log_tail
    lines = [line for text in printed for line in wrapped(plain(text), width)]
    return page(lines) if lines else not_recorded(known, "log")


PAGES: dict[str, Page] = {
    "facts": facts,
    "configuration": configuration,
    "events": events,
    "checkpoints": checkpoints,
    "hardware": hardware,
    "log": log,
}


def _origin(view: RunView, width: int) -> list[Content]:
    run, info = view.summary, view.info
    lines = [
        fact("started", formats.moment(run.created_at, with_seconds=True), width),
        fact("last written", formats.moment(run.updated_at, with_seconds=True), width),
    ]
    if info is not None:
        lines += [
            fact("id", info.id, width),
            fact("host", info.host, width),
            fact("base model", f"{info.base_model}  {info.base_path or ''}".strip(), width),
            fact("resumed from", info.resumed_from or formats.MISSING, width),
        ]
        lines += [
            fact("data file", f"{name}  {hash[:12]}", width)
            for name, hash in info.data_files.items()
        ]
    return lines


def _results(view: RunView, width: int) -> list[Content]:
    run = view.summary
    rows = [("step", formats.steps(run.step, run.total_steps))]
    if run.epoch is not None:
        rows.append(("epoch", number(run.epoch)))
    curve = spark_text(run.spark, 24)
    rows.append(("loss", f"{number(run.loss)}  {curve}  {trend_text(run.trend)[0]}"))
    for name, table in (("loss", view.train), ("val_loss", view.evals)):
        best = table.best(name)
        if best is not None:
            rows.append((f"best {name}", f"{number(best[0])} at step {formats.count(best[1])}"))
    saved = saved_step.text(view.state)
    if saved is not None:
        rows.append(("saved step", saved))
    rows += [
        ("learning rate", formats.rate(run.learning_rate)),
        ("time", duration(run_diff.elapsed(view))),
        ("tokens/s", number(run_diff.speed(view))),
        ("rows", _rows_text(view)),
        ("metrics", ", ".join(dict.fromkeys((*view.train.measured(), *view.evals.measured())))),
    ]
    return [fact(name, value, width) for name, value in rows]


def _gradients(check: GradientCheck, width: int) -> list[Content]:
    """The gradients as last measured, before clipping."""
    bad = "$error" if check.nan or check.infinite else ""
    some = "" if check.with_gradient == check.parameters else "$warning"
    last = "never" if check.last_not_finite is None else (
        f"last at step {formats.count(check.last_not_finite)}"
    )  # fmt: skip
    return [
        fact("gradients at step", formats.count(check.step), width),
        fact("largest |gradient|", number(check.largest), width),
        fact("NaN", formats.plural(check.nan, "value"), width, bad),
        fact("infinity", formats.plural(check.infinite, "value"), width, bad),
        fact("NaN or infinity", last, width),
        fact(
            "parameters with gradient",
            f"{formats.count(check.with_gradient)} of {formats.count(check.parameters)}",
            width,
            some,
        ),
    ]


def _rows_text(view: RunView) -> str:
    training = formats.plural(view.train.rows, "training row")
    return f"{training}, {formats.plural(view.evals.rows, 'evaluation')}"


def _checkpoint(item: CheckpointFacts, columns: Sequence[_CheckpointColumn]) -> Content:
    shown = (
        columns
        if item.problem is None or len(columns) == len(_CHECKPOINT_COLUMNS)
        else (columns[:1])
    )  # so that the problem has room
    cells = "  ".join(f"{clean(text(item)):>{width}}" for _, width, text, _ in shown)
    parts: list[Content | tuple[str, str]] = [Content(f"{cells}  ")]
    if item.problem:
        parts.append((clean(item.problem), "bold $error"))
    else:
        parts.append(("complete", "$success") if item.sealed else ("no manifest", "$faint"))
    if item.best:
        parts.append(("  best", "bold $accent"))
    return Content.assemble(*parts)


def _measured(one: MetricRange) -> Content:
    last, peak = (
        formats.size(value) if one.unit == "bytes" else f"{formats.count(value)} {one.unit}"
        for value in (one.last, one.peak)
    )
    return Content.assemble((f"{clean(one.name):<{_LABEL}} ", "$faint"), f"{last:>12} {peak:>12}")


def not_recorded(known: RunDetails, what: str) -> Content:
    """The line for a page without content."""
    run = known.view.summary
    if run.kind != "run":
        return Content.styled(f"no {what}: {clean(run.tool)} does not record them", "$faint")
    return Content.styled(f"no {what} recorded", "$faint")


def fact(name: str, value: str, width: int, style: str = "") -> Content:
    """A label and its value, wrapped beside the label."""
    label = Content.styled(f"{clean(name):<{_LABEL}} ", "$faint")
    return page(beside(label, plain(value, style), max(width, label.cell_length + _LEAST_VALUE)))


def page(lines: Sequence[Content]) -> Content:
    """The lines as one text."""
    return Content("\n").join(lines)


def _value_text(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_value_text(item)}" for key, item in value.items())
    return formats.MISSING if value is None else run_diff.config_text(value)
