"""`python -m tui_trainer.engine.preflight estimate|find-lr`: reads a job as JSON from standard
input and writes the result as JSON to standard output, or an error as one sentence to standard
error.

Exit status: 0 done; 1 failed; 2 bad input.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.contracts.job import Job


def main(arguments: list[str] | None = None) -> int:
    """Run one task, `estimate` or `find-lr`; return the exit status."""
    task = (sys.argv[1:] if arguments is None else arguments)[0]
    # Before torch is loaded: threads that spin while they wait make small steps slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore")
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
        result = _task_function(task)(job)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        print(error_text(error), file=sys.stderr)  # noqa: T201
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(result) + b"\n")
    sys.stdout.flush()
    return 0


def _task_function(task: str) -> Callable[[Job], object]:
    if task == "find-lr":
        from tui_trainer.engine.preflight.find_lr import find_rate

        return find_rate
    from tui_trainer.engine.preflight.estimate import estimate

    return estimate


if __name__ == "__main__":
    sys.exit(main())
