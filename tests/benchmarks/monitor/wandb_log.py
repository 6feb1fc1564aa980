"""Run by the Python that has wandb: logs ROWS rows to an offline run below FOLDER.

`python wandb_log.py ROWS FOLDER`
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[3]))

from tests.benchmarks.monitor.feeder import numbers


def main() -> None:
    """Writes the run and ends it."""
    wandb = importlib.import_module("wandb")
    settings = wandb.Settings(console="off", x_disable_stats=True, x_disable_meta=True, silent=True)
    run = wandb.init(mode="offline", project="benchmark", dir=sys.argv[2], settings=settings)
    for row in range(int(sys.argv[1])):
        run.log(numbers(row))
    run.finish()


if __name__ == "__main__":
    main()
