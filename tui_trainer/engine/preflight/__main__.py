"""`python -m tui_trainer.engine.preflight estimate|find-lr|data`: reads a job, or a request with
one, as JSON from standard input and writes the result as JSON to standard output, or an error as
one sentence to standard error. `data` writes lines of progress before its result.

Exit status: 0 done; 1 failed; 2 bad input.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.data_inspection import InspectionProgress, InspectionRequest
from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.contracts.job import Job


def main(arguments: list[str] | None = None) -> int:
    """Run one task, `estimate`, `find-lr` or `data`; return the exit status."""
    task = (sys.argv[1:] if arguments is None else arguments)[0]
    # Before torch is loaded: threads that spin while they wait make small steps slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore")
    try:
        result = _run(task, sys.stdin.buffer.read())
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        print(error_text(error), file=sys.stderr)  # noqa: T201
        return 1
    _write(result)
    return 0


def _write(line: object) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(line) + b"\n")
    sys.stdout.flush()


def _run(task: str, request: bytes) -> object:
    if task == "data":
        from tui_trainer.engine.preflight.inspect_data import inspect_data

        return inspect_data(
            msgspec.json.decode(request, type=InspectionRequest),
            lambda message: _write(InspectionProgress(message=message)),
        )
    return _task_function(task)(msgspec.json.decode(request, type=Job))


def _task_function(task: str) -> Callable[[Job], object]:
    if task == "find-lr":
        from tui_trainer.engine.preflight.find_lr import find_rate

        return find_rate
    from tui_trainer.engine.preflight.estimate import estimate

    return estimate


if __name__ == "__main__":
    sys.exit(main())
