"""The pages of a run's details, in words. Pure."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from textual.content import Content

from tui_trainer.contracts.run import ACTIVE_STATES
from tui_trainer.text import formats
from tui_trainer.text.formats import clean, clock, duration, number
from tui_trainer.tui.common import run_status
from tui_trainer.tui.common.markup import plain, shorten, wrapped
from tui_trainer.tui.runs.run_rows import spark_text, trend_words
from tui_trainer.watch.runs import run_diff
from tui_trainer.watch.runs.run_details import CheckpointFacts, MetricRange, RunDetails, measured
from tui_trainer.watch.snapshots import RunSummary, RunView

_LABEL = 25
_MOST_EVENTS = 500
Page = Callable[[RunDetails, int], Content]


def head(view: RunView, run: RunSummary) -> Content:
    """Name, state, tool, and what it takes."""
    steered = ("takes commands", "$success") if run.commandable else (read_only(run), "$faint")
    return Content.assemble(
        plain(run.name, "bold"), "  ", run_status.badge(view.summary.shown_status), "  ", steered
    )  # fmt: skip


def read_only(run: RunSummary) -> str:
    """Why nothing here can steer a run, in a few words."""
    if run.kind != "run":
        return f"read-only: written by {clean(run.tool)}"
    return "read-only: nothing listens" if run.status in ACTIVE_STATES else "has ended"


def facts(known: RunDetails, width: int) -> Content:
    """Where it lies, how far it came, what was odd, what is not recorded."""
    view = known.view
    run = view.summary
    lines = [fact("place", str(run.path), width), fact("tool", run.tool, width)]
    if run.message:
        lines.append(fact("message", run.message, width))
    lines += [fact("odd", text, width, "$warning") for text in view.oddities]
    if view.lacks:
        lines.append(fact("not recorded", ", ".join(view.lacks), width))
    lines += [Content(""), *_origin(view, width), Content(""), *_results(view, width)]
    return page(lines)


def configuration(known: RunDetails, width: int) -> Content:
    """Every key, by section."""
    lines: list[Content] = []
    section = None
    for key, value in known.view.config.items():
        before, dot, name = key.rpartition(".")
        if dot and before != section:
            lines += [Content(""), Content.styled(clean(before), "bold $accent")]
        elif not dot and section:
            lines.append(Content(""))
        section = before if dot else ""
        lines.append(fact(name if dot else key, _words(value), width))
    return page(lines) if lines else nothing(known, "configuration")


def events(known: RunDetails, width: int) -> Content:
    """What happened, the newest first."""
    listed = known.view.events[: -_MOST_EVENTS - 1 : -1]
    lines = []
    for event in listed:
        head = Content.assemble(
            (f"{clock(event.time)}  {formats.count(event.step):>9}  ", "$faint"),
            (f"{clean(event.kind):<14} ", "$accent"),
        )
        text = clean(event.message or _words(event.detail))
        line = Content.assemble(head, shorten(text, max(0, width - head.cell_length)))
        lines.append(line.truncate(width, ellipsis=True))
    left_out = len(known.view.events) - len(listed)
    if left_out:
        lines.append(Content.styled(f"and {left_out:,} earlier ones", "$faint"))
    return page(lines) if lines else nothing(known, "events")


def checkpoints(known: RunDetails, width: int) -> Content:
    """Name, step, size, whole or not."""
    if not known.checkpoints:
        return nothing(known, "checkpoints")
    title = f"{'name':<20} {'step':>10} {'size':>10}  state"
    return page([Content.styled(title, "$faint"), *map(_checkpoint, reversed(known.checkpoints))])


def machine(known: RunDetails, width: int) -> Content:
    """Newest and greatest values of what was measured while it trained."""
    found = measured(known.view.hardware)
    if not found:
        return nothing(known, "samples of the machine")
    title = f"{'':<{_LABEL}} {'last':>12} {'peak':>12}"
    last = known.view.hardware[-1]
    said = [] if last.gpus or not last.gpu_message else [fact("GPU", last.gpu_message, width)]
    return page([Content.styled(title, "$faint"), *(_measured(one) for one in found), *said])


def log(known: RunDetails, width: int) -> Content:
    """The end of what the training process printed."""
    printed = known.log or known.view.log_tail
    lines = [line for text in printed for line in wrapped(plain(text), width)]
    return page(lines) if lines else nothing(known, "log")


PAGES: dict[str, Page] = {
    "facts": facts,
    "configuration": configuration,
    "events": events,
    "checkpoints": checkpoints,
    "machine": machine,
    "log": log,
}


def _origin(view: RunView, width: int) -> list[Content]:
    run, info = view.summary, view.info
    lines = [
        fact("began", _moment(run.created_at), width),
        fact("last written", _moment(run.updated_at), width),
    ]
    if info is not None:
        lines += [
            fact("id", info.id, width),
            fact("host", info.host, width),
            fact("base", f"{info.base_model}  {info.base_path or ''}".strip(), width),
            fact("resumed from", info.resumed_from or formats.MISSING, width),
        ]
        lines += [
            fact("data file", f"{name}  {hash[:12]}", width)
            for name, hash in info.data_files.items()
        ]
    return lines


def _results(view: RunView, width: int) -> list[Content]:
    run = view.summary
    total = f" of {formats.count(run.total_steps)}" if run.total_steps else ""
    step = formats.MISSING if run.step is None else f"{formats.count(run.step)}{total}"
    rows = [("step", step)]
    if run.epoch is not None:
        rows.append(("epoch", number(run.epoch)))
    course = spark_text(run.spark, 24)
    rows.append(("loss", f"{number(run.loss)}  {course}  {trend_words(run.trend)[0]}"))
    for name, table in (("loss", view.train), ("val_loss", view.evals)):
        best = table.best(name)
        if best is not None:
            rows.append((f"best {name}", f"{number(best[0])} at step {formats.count(best[1])}"))
    rows += [
        ("learning rate", formats.rate(run.learning_rate).replace("n/a", formats.MISSING)),
        ("time", duration(run_diff.elapsed(view))),
        ("tokens/s", number(run_diff.speed(view))),
        ("rows", f"{view.train.rows:,} training, {view.evals.rows:,} evaluations"),
        ("metrics", ", ".join(dict.fromkeys((*view.train.names(), *view.evals.names())))),
    ]
    return [fact(name, value, width) for name, value in rows]


def _checkpoint(item: CheckpointFacts) -> Content:
    size = value_size(item.bytes)
    parts: list[Content | tuple[str, str]] = [
        Content(f"{clean(item.name):<20} {item.step:>10,} {size:>10}  ")
    ]
    if item.problem:
        parts.append((clean(item.problem), "bold $error"))
    else:
        parts.append(("sealed", "$success") if item.sealed else ("no manifest", "$faint"))
    if item.best:
        parts.append(("  best", "bold $accent"))
    return Content.assemble(*parts)


def value_size(amount: float) -> str:
    """Bytes in few characters."""
    if amount < 2**20:
        return f"{amount / 1024:.1f} KiB"
    return formats.size(int(amount)) if amount >= 2**30 else f"{amount / 2**20:.1f} MiB"


def _measured(one: MetricRange) -> Content:
    last, peak = (
        value_size(value) if one.unit == "bytes" else f"{value:.0f} {one.unit}"
        for value in (one.last, one.peak)
    )
    return Content.assemble((f"{clean(one.name):<{_LABEL}} ", "$faint"), f"{last:>12} {peak:>12}")


def nothing(known: RunDetails, what: str) -> Content:
    run = known.view.summary
    why = f"{clean(run.tool)} records none here" if run.kind != "run" else "none are recorded"
    return Content.styled(f"no {what}: {why}", "$faint")


def fact(name: str, value: str, width: int, style: str = "") -> Content:
    """A label and its value, wrapped beside the label."""
    room = max(10, width - _LABEL - 1)
    lines = [
        Content.assemble((f"{clean(name) if at == 0 else '':<{_LABEL}} ", "$faint"), line)
        for at, line in enumerate(wrapped(plain(value, style), room))
    ]
    return Content("\n").join(lines)


def page(lines: Sequence[Content]) -> Content:
    return Content("\n").join(lines)


def _words(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    return formats.MISSING if value is None else run_diff.words(value)


def _moment(seconds: float | None) -> str:
    try:
        return (
            formats.MISSING
            if seconds is None
            else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
        )
    except (OverflowError, ValueError, OSError):
        return formats.MISSING
