"""`python -m tests.benchmarks.monitor`: what `tui-trainer monitor` costs, beside W&B's own.

Every figure is taken in a real pseudo-terminal of 160×45, with the same numbers in every row for
both. Prints a Markdown table; `--json` prints one JSON document instead. `--peer-bin` names a
`wandb` that is not on the path; `--peer none` leaves it out. It takes about twelve minutes with
the peer, `--quick` three; run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.monitor import measures
from tests.benchmarks.monitor.subjects import Leet, Ours, Subject, find_wandb, make_folder_of_runs

Figures = dict[str, float]

# Key, words and limit of each line; the unit stands behind the number.
LINES = (
    ("first_paint", "first paint", "s", "0.45"),
    ("complete_200k", "complete chart of 200,000 rows", "s", "0.6"),
    ("complete_1m", "complete chart of 1,000,000 rows", "s", "1.5"),
    ("peak_1m", "peak memory with 1,000,000 rows", "MiB", "120"),
    ("peak_200k", "peak memory with 200,000 rows", "MiB", ""),
    ("list_200", "200 runs listed", "s", "1.0"),
    ("idle_ended", "CPU, a run that has ended", "%", "1"),
    ("idle_live", "CPU, a live run that is silent", "%", "1"),
    ("cpu_50", "CPU at 50 rows/s", "%", "6"),
    ("lag_7_p50", "row written to row on screen, 7 rows/s, p50", "ms", ""),
    ("lag_7_p95", "the same, p95", "ms", "60"),
    ("lag_100_p50", "row written to row on screen, 100 rows/s, p50", "ms", ""),
    ("lag_100_p95", "the same, p95", "ms", "130"),
    ("block", "longest pause of the event loop while the largest run is read", "ms", "10"),
    ("block_own", "of one such pause, spent by the loop itself at most", "ms", "10"),
)


def main() -> None:
    """Measures each program and prints what was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.monitor")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--peer", choices=["wandb-leet", "none"], default="wandb-leet")
    parser.add_argument("--peer-bin", help="the wandb program; default: the one on the path")
    parser.add_argument("--quick", action="store_true", help="fewer repeats, shorter, no million")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="monitor-benchmark-") as folder:
        root = Path(folder)
        (root / "home").mkdir()
        subjects: list[Subject] = [Ours(root / "home")]
        program = find_wandb(options.peer_bin) if options.peer == "wandb-leet" else None
        if program is not None:
            subjects.append(Leet(program, root / "home"))
        found = {
            subject.name: measure(subject, root / str(number), quick=options.quick)
            for number, subject in enumerate(subjects)
        }
    print(as_json(found) if options.json else table(found))


def measure(subject: Subject, folder: Path, *, quick: bool = False) -> Figures:
    """Every figure of one program; what it cannot show is left out."""
    repeats, seconds = (2, 8.0) if quick else (5, 20.0)
    small = 2000
    found: Figures = {}

    def take(key: str, value: float) -> None:
        found[key] = round(value, 4)
        print(f"{subject.name}: {key} {value:.4g}", file=sys.stderr, flush=True)

    ended = subject.make(folder / "ended", small)
    paints = [measures.first_paint(subject, ended) for _ in range(repeats)]
    take("first_paint", statistics.median(paints))
    take("idle_ended", 100 * measures.idle(subject, ended, small, seconds))
    silent = subject.make(folder / "silent", small, coming=small)
    take("idle_live", 100 * measures.idle(subject, silent, small, seconds))
    for rate in (7, 50, 100):
        coming = int(rate * (seconds + 3))
        recording = subject.make(folder / f"live{rate}", small, coming=coming)
        share, lag = measures.live(subject, recording, small, rate, seconds)
        if rate == 50:
            take("cpu_50", 100 * share)
        else:
            take(f"lag_{rate}_p50", 1000 * lag.p50)
            take(f"lag_{rate}_p95", 1000 * lag.p95)
    _measure_loading(subject, folder, take, quick=quick)
    return found


def _measure_loading(
    subject: Subject, folder: Path, take: Callable[[str, float], None], *, quick: bool
) -> None:
    sizes = [("200k", 200_000, 1 if quick else 3)]
    if isinstance(subject, Ours) and not quick:
        sizes.append(("1m", 1_000_000, 3))
    for name, rows, repeats in sizes:
        recording = subject.make(folder / name, rows)
        looks = [measures.complete(subject, recording, rows) for _ in range(repeats)]
        take(f"complete_{name}", statistics.median(look[0] for look in looks))
        take(f"peak_{name}", max(look[1] for look in looks) / 2**20)
    if not isinstance(subject, Ours):
        return
    pauses = [measures.blocks(subject, folder / name) for _ in range(repeats)]
    take("block", statistics.median(pause["wall"] for pause in pauses))
    take("block_own", statistics.median(pause["own"] for pause in pauses))
    make_folder_of_runs(folder / "many", 200, 100)
    lists = [measures.list_runs(subject, folder / "many", 35) for _ in range(repeats)]
    take("list_200", statistics.median(lists))


def machine() -> str:
    """Where and under what load this was measured."""
    return (
        f"{os.cpu_count()} CPU cores, load average {os.getloadavg()[0]:.1f} at the end, "
        f"Python {platform.python_version()}, {platform.system()}"
    )


def as_json(found: dict[str, Figures]) -> str:
    """The figures as one document."""
    return json.dumps({"machine": machine(), "figures": found}, indent=2)


def table(found: dict[str, Figures]) -> str:
    """The figures as a Markdown table."""
    names = list(found)
    lines = [
        machine(),
        "",
        f"| | {' | '.join(names)} | limit |",
        f"|---|{'---:|' * len(names)}---:|",
    ]
    for key, label, unit, limit in LINES:
        cells = [_cell(found[name].get(key), unit) for name in names]
        if any(cells):
            shown = " | ".join(cell or "–" for cell in cells)
            lines.append(f"| {label} | {shown} | {f'{limit} {unit}' if limit else ''} |")
    return "\n".join(lines)


def _cell(value: float | None, unit: str) -> str:
    if value is None:
        return ""
    digits = {"s": 2, "%": 1}.get(unit, 0)
    return f"{value:,.{digits}f} {unit}"


if __name__ == "__main__":
    main()
