"""`python -m tests.benchmarks.advisor --make DIR` trains the runs; `... DIR` judges them."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from tests.benchmarks.advisor.cases import SEEDS

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ["HF_HUB_OFFLINE"] = "1"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.advisor", description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path())
    parser.add_argument("--make", action="store_true", help="train the runs that are not there")
    parser.add_argument("--autopilot", action="store_true", help="train with auto_apply")
    parser.add_argument("--cost", action="store_true", help="time and memory, without any run")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--group", choices=tuple(SEEDS), help="one set")
    parser.add_argument("--without", help="fields taken out, such as gradient_norm,learning_rate")
    parser.add_argument("--details", action="store_true", help="a line for every run")
    options = parser.parse_args()
    if options.cost:
        from tests.benchmarks.advisor import cost

        cost.print_cost()
    elif options.autopilot:
        from tests.benchmarks.advisor import autopilot

        autopilot.print_table(options.folder, options.only, options.group)
    elif options.make:
        _make(options.folder, options.only, options.group)
    else:
        from tests.benchmarks.advisor import judge

        without = tuple(options.without.split(",")) if options.without else ()
        judge.print_table(options.folder, options.only, options.group, options.details, without)


def _make(folder: Path, only: str, group: str | None) -> None:
    import warnings

    warnings.filterwarnings("ignore")
    from tests.benchmarks.advisor import drive
    from tests.benchmarks.advisor.cases import all_cases

    for case in all_cases():
        if only in case.name and group in (None, case.group):
            started_at = time.perf_counter()
            drive.make(case, folder)
            print(f"{case.name}: {time.perf_counter() - started_at:.1f} s", flush=True)


if __name__ == "__main__":
    main()
