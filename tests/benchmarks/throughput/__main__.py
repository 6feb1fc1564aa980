"""`python -m tests.benchmarks.throughput`: tokens a second beside two peers.

The peers are Hugging Face's `Trainer` with PEFT, and TRL's `SFTTrainer`.

The same examples in the same optimizer steps, the same seed, precision and optimizer; each
measurement in a process of its own on one thread, the trainers in turn. CPU seconds count; with a
GPU all train on that, and wall seconds do. Prints a Markdown table;
`--json` prints one JSON line a measurement instead. TRL is left out where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.throughput.cases import Case, make_base, write_rows

ROWS = 400
CASES = [
    Case("builtin", "gsm8k", 12),
    Case("builtin", "long", 24),
    Case("30M", "gsm8k", 8),
    Case("30M", "long", 16),
    Case("30M", "gsm8k", 8, precision="bf16"),
    Case("135M", "gsm8k", 3),
    Case("135M", "long", 4),
]
QUICK = [Case("30M", "long", 6), Case("135M", "long", 3)]
COMMAND = "import sys; from tests.benchmarks.throughput.trainers import main; main(sys.argv[1:])"
Results = dict[str, list[dict[str, Any]]]


def main() -> None:
    """Measures every case with every trainer that is there."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.throughput")
    parser.add_argument("--quick", action="store_true", help="two cases, once each")
    parser.add_argument("--json", action="store_true", help="a JSON line a measurement")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", help='cases whose title begins so, such as "30M"')
    options = parser.parse_args()
    trainers = ["hf", "tui-trainer"]
    if importlib.util.find_spec("trl") is not None:
        trainers.append("trl")
    else:
        print("TRL is not installed: left out", file=sys.stderr)
    cases = [
        c for c in (QUICK if options.quick else CASES) if c.title.startswith(options.only or "")
    ]
    shared = os.environ.get("TUI_TRAINER_SHARED_DATA")
    lines, used = [], "cpu"
    with tempfile.TemporaryDirectory() as work:
        for case in cases:
            if case.rows == "gsm8k" and shared is None:
                print(f"{case.title}: TUI_TRAINER_SHARED_DATA is not set", file=sys.stderr)
                continue
            repeats = 1 if options.quick else options.repeats
            results = measure(case, trainers, repeats, Path(work), Path(shared) if shared else None)
            if options.json:
                for name, found in results.items():
                    for one in found:
                        print(json.dumps({"case": case.title, **one, "trainer": name}), flush=True)
                continue
            lines.append(row(case, results))
            used = device(results)
            print(lines[-1], file=sys.stderr, flush=True)
    if not options.json:
        print(table(lines, used))


def measure(
    case: Case, trainers: Sequence[str], repeats: int, work: Path, shared: Path | None
) -> Results:
    """Every trainer in turn, `repeats` times."""
    rows = write_rows(case.rows, ROWS, work, shared)
    base = make_base(case.base, work, rows)
    results: Results = {name: [] for name in trainers}
    for _ in range(repeats):
        for name in trainers:
            arguments = [base, rows, case.steps, case.batch_size, case.precision, work]
            done = subprocess.run(
                [sys.executable, "-c", COMMAND, name, *map(str, arguments)],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                sys.exit(f"{name} failed on {case.title}:\n{done.stderr[-2000:]}")
            results[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
    return results


def row(case: Case, results: Results) -> str:
    """A case as a line of the table."""
    clock = "cpu" if device(results) == "cpu" else "wall"
    pace = {name: speed(found, clock) for name, found in results.items()}
    cells = [case.title]
    cells += [f"{pace[name]:.0f}" if name in pace else "–" for name in ("tui-trainer", "hf", "trl")]
    for name in ("hf", "trl"):
        if name not in results:
            cells += ["–"]
            continue
        wall = speed(results["tui-trainer"], "wall") / speed(results[name], "wall")
        cells.append(f"{pace['tui-trainer'] / pace[name]:.2f}× ({wall:.2f}×)")
    apart = difference(results, "losses"), difference(results, "norms")
    cells += [f"{apart[0]:.1e}", f"{apart[1]:.1e}"]
    return f"| {' | '.join(cells)} |"


def device(results: Results) -> str:
    """What all of them trained on."""
    (name,) = {one["device"] for found in results.values() for one in found}
    return str(name)


def speed(found: Sequence[dict[str, Any]], clock: str) -> float:
    """Median tokens a second, without padding."""
    return float(statistics.median(one["tokens"] / one[clock] for one in found))


def difference(results: Results, field: str) -> float:
    """The largest difference of a step's value between us and any of the others."""
    own = results["tui-trainer"][0][field]
    others = [found[0][field] for name, found in results.items() if name != "tui-trainer"]
    return max(abs(float(a - b)) for other in others for a, b in zip(own, other, strict=True))


def table(lines: Sequence[str], used: str) -> str:
    """The lines under their headings, with the machine named."""
    own = "CPU" if used == "cpu" else "wall"
    heads = [
        "base, rows, precision", "tui-trainer", "HF Trainer + PEFT", "TRL SFTTrainer",
        f"of HF, {own} (wall)", f"of TRL, {own} (wall)", "losses apart", "norms apart",
    ]  # fmt: skip
    load = os.getloadavg()[0]
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    return "\n".join(
        [
            f"Tokens a {own} second without padding, one thread; {machine}, load {load:.1f}"
            + ("" if used == "cpu" else f"; {used}"),
            "",
            f"| {' | '.join(heads)} |",
            "|" + "---|" * len(heads),
            *lines,
        ]
    )


if __name__ == "__main__":
    main()
