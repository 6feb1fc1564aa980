"""Evaluation of a model in its own process, which appends the results to a journal."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.evaluation import EvaluationProgress, MeasuringRequest
from tui_trainer.launch.model_process import ModelProcess, Wording

_WORDING = Wording(
    name="the evaluating process",
    memory="what it had measured is kept: use a smaller base or --quantization nf4",
)


def measure(request: MeasuringRequest, on_progress: Callable[[EvaluationProgress], None]) -> None:
    """Measure what the journal of the request lacks, and return when it is complete.

    Raises `UserError` with the process's message where it fails. Any exception meanwhile, such as
    that of Ctrl-C, ends the process; what is in the journal stays.
    """
    process = ModelProcess("tui_trainer.engine.measure", _WORDING)
    try:
        process.send(request)
        process.close_input()
        decoder = msgspec.json.Decoder(EvaluationProgress)
        for line in process.lines():
            try:
                progress = decoder.decode(line)
            except BAD_CONTENT:
                continue  # not a line of ours
            on_progress(progress)
        status, last = process.end()
    finally:
        process.close(0.0)
    if status:
        last = last or f"the evaluating process ended with exit status {status}"
        raise UserError(last, status if status in (1, 2) else 1)
