"""`find-lr`: proposes a learning rate from a short sweep."""

from __future__ import annotations

import click

from tui_trainer.cli.common import job_warnings, options, output
from tui_trainer.cli.train import load
from tui_trainer.contracts.estimate import RateSweep
from tui_trainer.launch.preflight import ask
from tui_trainer.text import formats

_COLUMNS, _ROWS = 70, 15  # cells of the chart
_WARMUP_POINTS = 5  # at the start, where the smoothed loss is still unreliable


@click.command("find-lr")
@click.argument("job", metavar="JOB.toml")
@options.set_option
@options.json_option("Print one JSON document.")
@options.debug_option
def find_lr(job: str, overrides: tuple[str, ...], as_json: bool) -> int:
    """Propose a learning rate from a sweep of 100 steps.

    The range test of Smith (2015, arXiv:1506.01186) on a scratch adapter, which is discarded.

    \b
    Examples:
      tui-trainer find-lr example
      tui-trainer find-lr job.toml --set lora.rank=8 --json
    """
    checked = load(job, overrides)
    job_warnings.print_warnings(checked)
    found = ask("find-lr", checked, RateSweep)
    if as_json:
        output.document(found)
    else:
        output.data(curve(found))
        output.data("")
        for notice in found.notices:
            output.message(f"warning: {formats.escape(notice)}")
    if found.proposed is None:
        output.message(f"no rate is proposed: {found.reason}")
        return 1
    if not as_json:
        output.data(f"training.learning_rate = {formats.rate(found.proposed)}")
        output.message(found.reason)
    return 0


def curve(sweep: RateSweep) -> str:
    """Draw the smoothed loss over the learning rate (log scale); a vertical line marks the
    proposed rate. Losses far above the start are cut off."""
    if not sweep.points:
        return "no finite loss"
    import numpy as np

    from tui_trainer.tui.charts.draw import draw_chart  # loads a part of Textual
    from tui_trainer.tui.charts.model import ChartLine, ChartSpec, Palette

    rates = np.array([point.learning_rate for point in sweep.points])
    losses = np.array([point.smoothed for point in sweep.points])
    first, low = float(losses[min(_WARMUP_POINTS, len(losses) - 1)]), float(losses.min())
    high = min(float(losses.max()), first + 1.5 * max(first - low, 1e-9))
    spec = ChartSpec(
        title="smoothed loss by learning rate",
        detail="" if sweep.proposed is None else f"│ {formats.rate(sweep.proposed)}",
        lines=(ChartLine(rates, losses),),
        x_label="rate",
        log_x=True,
        y_range=(low, high) if high > low else None,
        cursor_x=sweep.proposed,
    )
    rows = draw_chart(spec, _COLUMNS, _ROWS, Palette())
    return "\n".join("".join(segment.text for segment in row).rstrip() for row in rows)
