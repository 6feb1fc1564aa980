"""`python -m tui_trainer.engine.measure`: evaluates a model on a file, or on tasks of lm-eval.

Reads a `MeasuringRequest` as JSON from standard input, appends every result to its journal, and
writes the progress as JSON lines to standard output, or an error as one sentence to standard error.

Exit status: 0 done; 1 failed; 2 bad input.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings

import msgspec

from tui_trainer.contracts.errors import UserError, error_text, is_out_of_memory
from tui_trainer.contracts.evaluation import EvaluationProgress, MeasuringRequest, TasksRequest


def main() -> int:
    """Measure what the request asks for; return the exit status."""
    # Before torch is loaded: threads that spin while they wait make small steps slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    warnings.filterwarnings("ignore")
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print must not be read as progress

    def report(progress: EvaluationProgress) -> None:
        stream.write(msgspec.json.encode(progress) + b"\n")
        stream.flush()

    try:
        request = msgspec.json.decode(sys.stdin.buffer.read(), type=MeasuringRequest)
        report(EvaluationProgress(phase="loading"))
        if isinstance(request, TasksRequest):
            from tui_trainer.engine.measure import tasks

            tasks.measure(request, report)
        else:
            from tui_trainer.engine.measure.measure import measure

            measure(request, report)
    except UserError as error:
        print(error, file=sys.stderr)  # noqa: T201
        return error.exit_status
    except BrokenPipeError:  # the command that asked has ended
        return 1
    except Exception as error:
        if is_out_of_memory(error):
            message = "out of memory: use a smaller base or --quantization nf4"
            print(message, file=sys.stderr)  # noqa: T201
            return 1
        traceback.print_exc()
        print(error_text(error), file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
