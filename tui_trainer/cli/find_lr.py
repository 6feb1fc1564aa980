"""`find-lr`: a learning rate proposed from a short sweep."""

from __future__ import annotations

import math

import click

from tui_trainer.cli import common, job_warnings, output
from tui_trainer.cli.train import load
from tui_trainer.contracts.estimate import RateSweep
from tui_trainer.launch.preflight import ask
from tui_trainer.text import formats

_COLUMNS, _ROWS = 60, 12


@click.command("find-lr")
@click.argument("job", metavar="JOB.toml")
@common.set_option
@common.json_option("Print one JSON document.")
@common.debug_option
def find_lr(job: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Sweep the learning rate over 100 steps on a scratch adapter and propose one.

    The range test of Smith (2015, arXiv:1506.01186). Nothing is kept.

    \b
    Examples:
      tui-trainer find-lr example
      tui-trainer find-lr job.toml --set lora.rank=8 --json
    """
    checked = load(job, overrides)
    job_warnings.tell(checked)
    found = ask("find-lr", checked, RateSweep)
    if as_json:
        output.document(found)
    else:
        output.data(curve(found))
        output.data("")
        for words in found.notices:
            output.message(f"warning: {formats.escape(words)}")
    if found.proposed is None:
        output.message(f"no rate is proposed: {found.reason}")
        return 1
    if not as_json:
        output.data(f"training.learning_rate = {formats.rate(found.proposed)}")
        output.message(found.reason)
    return 0


def curve(sweep: RateSweep) -> str:
    """The smoothed loss over the rate (logarithmic), the proposed rate marked."""
    points = sweep.points
    if not points:
        return "no finite loss"
    values = [point.smoothed for point in points]
    first = values[min(5, len(values) - 1)]
    low, high = min(values), min(max(values), first + 1.5 * max(first - min(values), 1e-9))
    logs = [math.log10(point.learning_rate) for point in points]
    left, right = logs[0], max(logs[-1], logs[0] + 1e-9)
    grid = [[" "] * _COLUMNS for _ in range(_ROWS)]
    for at, value in zip(logs, values, strict=True):
        column = round((at - left) / (right - left) * (_COLUMNS - 1))
        share = (min(value, high) - low) / max(high - low, 1e-9)
        grid[round((1 - share) * (_ROWS - 1))][column] = "•"
    mark = [" "] * _COLUMNS
    if sweep.proposed is not None:
        place = (math.log10(sweep.proposed) - left) / (right - left)
        mark[round(min(max(place, 0), 1) * (_COLUMNS - 1))] = "▲"
    lines = []
    for number, row in enumerate(grid):
        level = high - (high - low) * number / (_ROWS - 1)
        label = formats.number(level) if number in (0, _ROWS - 1) else ""
        lines.append(f"{label:>8} │{''.join(row)}".rstrip())
    ends = formats.rate(points[0].learning_rate), formats.rate(points[-1].learning_rate)
    lines.append(f"{'':>8} └{'─' * _COLUMNS}")
    lines.append(f"{'':>8}  {''.join(mark)}".rstrip())
    lines.append(f"{'':>8}  {ends[0]}{ends[1]:>{_COLUMNS - len(ends[0])}}")
    return "\n".join(lines)
