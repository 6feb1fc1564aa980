"""Export of the visible charts as SVG and text, and of their data as CSV. Never replaces a file."""

from __future__ import annotations

import contextlib
import csv
import io
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tui_trainer.contracts.errors import reason_of
from tui_trainer.store.atomic import sync_dir
from tui_trainer.text import formats
from tui_trainer.text.formats import clean
from tui_trainer.tui.charts import layout
from tui_trainer.tui.charts.draw import draw_chart
from tui_trainer.tui.charts.model import Array, ChartSpec, Marks, Palette
from tui_trainer.tui.charts.svg import SvgColours, svg_document
from tui_trainer.tui.run_charts.plot import Plot
from tui_trainer.tui.run_charts.x_axis import x_of
from tui_trainer.watch.snapshots import RunView

_TEXT_WIDTH, _TEXT_HEIGHT = 120, 24
_MOST_TRIES = 1000


def export(
    plots: Sequence[Plot], palette: Palette, background: SvgColours, marks: Marks = "braille",
    folder: Path | None = None,
) -> tuple[str, bool]:  # fmt: skip
    """Write `NAME.svg`, `NAME.txt` and `NAME.csv` to `folder` (default: the working directory).

    Returns a sentence with the names or the error, and whether it failed.
    """
    folder = Path.cwd() if folder is None else folder
    specs = [plot.spec() for plot in plots]
    contents = {
        ".svg": svg_document(specs, palette, background),
        ".txt": text_of(plots, specs, marks),
        ".csv": csv_of(plots, specs),
    }
    try:
        stem = write_new(folder, name_of(plots), contents)
    except OSError as error:
        return f"the charts cannot be exported to {folder}: {reason_of(error)}", True
    return f"exported {stem}.svg, .txt and .csv to {folder}", False


def name_of(plots: Sequence[Plot]) -> str:
    """A file name from the run, the metric and the newest step; plain letters only."""
    view = plots[0].view
    metric = plots[0].metric.id if len(plots) == 1 else "charts"
    step = view.summary.step
    parts = [view.summary.name, *(["overlay"] if plots[0].others else []), metric]
    if step is not None:
        parts.append(f"step{step}")
    return re.sub(r"[^A-Za-z0-9_.=-]+", "_", "-".join(parts)).strip("._-")[:120] or "chart"


def write_new(folder: Path, stem: str, contents: dict[str, str]) -> str:
    """Write files with one stem, each completely or not at all; add a number if the name exists.

    Returns the stem. Raises `OSError` if the folder is not writable.
    """
    for number in range(1, _MOST_TRIES):
        name = stem if number == 1 else f"{stem}-{number}"
        if any((folder / f"{name}{suffix}").exists() for suffix in contents):
            continue
        with contextlib.suppress(
            FileExistsError
        ):  # created meanwhile by another process: next number
            for suffix, content in contents.items():
                _write_new(folder / f"{name}{suffix}", content)
            sync_dir(folder)
            return name
    raise FileExistsError(17, f"there are {_MOST_TRIES} exports of {stem} already")


def _write_new(path: Path, content: str) -> None:
    """Write a temporary file, then link it: a link is atomic and fails if the name exists."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        temporary.replace(path)


def text_of(plots: Sequence[Plot], specs: Sequence[ChartSpec], marks: Marks) -> str:
    """The charts as text, below the runs' names and steps."""
    lines = []
    for view in plots[0].views:
        step = f", step {formats.count(view.summary.step)}" if view.summary.step is not None else ""
        lines.append(clean(f"{view.summary.name}: {view.summary.status}{step}"))
    for spec in specs:
        lines.append("")
        strips = draw_chart(spec, _TEXT_WIDTH, _TEXT_HEIGHT, Palette(), marks)
        lines += [strip.text.rstrip() for strip in strips]
    return "\n".join(lines) + "\n"


def csv_of(plots: Sequence[Plot], specs: Sequence[ChartSpec]) -> str:
    """A row for every visible entry: run, kind, step, epoch, time, then the metrics.

    In a thinned table a metric is the mean of a bucket, `_min` and `_max` are its extremes. Values
    that are not finite or not recorded are empty.
    """
    rows: list[dict[str, str]] = []
    names = ["run", "kind", "step", "epoch", "time"]
    for evals in (False, True):
        mine = [plot for plot in plots if plot.metric.evals is evals]
        if mine:
            low, high = _seen(specs[0])
            for view in mine[0].views:
                rows += _rows(view, mine, evals, low, high, names)
    out = io.StringIO()
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _seen(spec: ChartSpec) -> tuple[float, float]:
    if spec.x_range is not None:
        return spec.x_range
    axis = layout.x_axis(spec)
    return axis.value(0.0), axis.value(1.0)


def _rows(
    view: RunView, plots: Sequence[Plot], evals: bool, low: float, high: float, names: list[str]
) -> list[dict[str, str]]:
    table = view.evals if evals else view.train
    x = x_of(view, plots[0].options.x, evals)
    if not len(x) or len(x) != len(table):
        return []
    slack = (high - low) * 1e-9
    entries = np.flatnonzero((x >= low - slack) & (x <= high + slack))
    columns: dict[str, Array] = {
        name: table.column(name) for name in ("step", "epoch", "time") if len(table.column(name))
    }
    for plot in plots:
        columns.update(_columns(view, plot, len(table)))
    names += [name for name in columns if name not in names]
    fixed = {"run": _harmless(clean(view.summary.name)), "kind": "eval" if evals else "train"}
    listed = {name: column[entries].tolist() for name, column in columns.items()}
    return [
        fixed | {name: _cell(values[row]) for name, values in listed.items()}
        for row in range(len(entries))
    ]


def _columns(view: RunView, plot: Plot, length: int) -> dict[str, Array]:
    """A metric's columns, of the table's length."""
    samples = plot.metric.samples(view)
    if not len(samples.values):
        return {}
    found = {}
    name = clean(plot.metric.export_name)
    sides = (("", samples.values), ("_min", samples.low), ("_max", samples.high))
    for suffix, values in sides:
        if values is not None:
            whole = np.full(length, np.nan)
            whole[slice(None) if samples.entries is None else samples.entries] = values
            found[f"{name}{suffix}"] = whole
    return found


def _cell(value: float) -> str:
    """A number with full precision; a whole one without a decimal point."""
    if not np.isfinite(value):
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def _harmless(name: str) -> str:
    """A name that no spreadsheet interprets as a formula."""
    return f"'{name}" if name[:1] in ("=", "+", "-", "@") else name
