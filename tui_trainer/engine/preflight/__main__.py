"""`python -m tui_trainer.engine.preflight estimate|find-lr`: a job as JSON on standard input, what
was found out as JSON on standard output, an error in one sentence on standard error.

Exit status: 0 answered; 1 failed; 2 bad input.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable

import msgspec

from tui_trainer.contracts.errors import UserError
from tui_trainer.contracts.job import Job


def main(arguments: list[str] | None = None) -> int:
    """Answers one question and gives the exit status."""
    question = (sys.argv[1:] if arguments is None else arguments)[0]
    # Before torch is loaded: threads that spin while they wait slow small steps down.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore")
    try:
        job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
        found = _work(question)(job)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        print(f"unexpected {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    sys.stdout.buffer.write(msgspec.json.encode(found) + b"\n")
    sys.stdout.flush()
    return 0


def _work(question: str) -> Callable[[Job], object]:
    if question == "find-lr":
        from tui_trainer.engine.preflight.find_lr import find_rate

        return find_rate
    from tui_trainer.engine.preflight.estimate import estimate

    return estimate


if __name__ == "__main__":
    sys.exit(main())
