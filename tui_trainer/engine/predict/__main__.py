"""`python -P -m tui_trainer.engine.predict`: the process that predicts with a trained adapter.

It reads a task and requests as JSON lines from stdin and writes events to stdout, see
`contracts/predict.py`. It ends when stdin closes. Exit status: 0, or that of the error for which
the task failed.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from tui_trainer.contracts.errors import UserError, error_text
from tui_trainer.contracts.predict import (
    MergeClassifier,
    PredictionDone,
    PredictionFailed,
    PredictionStatus,
    PredictorEvent,
    PredictorReady,
    PredictorTask,
    PredictRequest,
    PredictSetup,
    RowsPredicted,
)

if TYPE_CHECKING:
    from tui_trainer.engine.predict.models import Predictor

Send = Callable[[PredictorEvent], None]


def main() -> int:
    """Perform a task; return the exit status."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # waiting threads must not use the CPU
    warnings.filterwarnings("ignore")  # addressed to the authors of the libraries
    events = _own_stdout()

    def send(event: PredictorEvent) -> None:
        events.write(msgspec.json.encode(event) + b"\n")
        events.flush()

    return _reported(send, lambda: _perform(send))


def _perform(send: Send) -> None:
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=PredictorTask)
    send(PredictionStatus(message="loading PyTorch"))
    if isinstance(task, MergeClassifier):
        _merge(task, send)
        return
    model = _load(task, send)
    send(PredictorReady(task=model.task, labels=model.labels, notices=model.notices))
    decoder = msgspec.json.Decoder(PredictRequest)
    for line in sys.stdin.buffer:
        request = decoder.decode(line)
        _reported(send, lambda request=request: _predict(model, request, send))  # type: ignore[misc]


def _load(task: PredictSetup, send: Send) -> Predictor:
    from tui_trainer.engine.predict import models

    return models.load(task, lambda text: send(PredictionStatus(message=text)))


def _predict(model: Predictor, request: PredictRequest, send: Send) -> None:
    from tui_trainer.engine.data.questions import QuestionRow, read_questions
    from tui_trainer.engine.data.rows import Message

    if request.file is not None:
        questions = list(read_questions(Path(request.file), model.task))
    else:
        questions = [QuestionRow(1, (Message("user", request.text or ""),))]
    send(RowsPredicted(rows=[], total=len(questions)))  # the total, before the first rows
    for start in range(0, len(questions), model.window):
        window = questions[start : start + model.window]
        send(RowsPredicted(rows=model.predict(window), total=len(questions)))
    send(PredictionDone())


def _merge(task: MergeClassifier, send: Send) -> None:
    from tui_trainer.models.base_identity import origin_of
    from tui_trainer.models.classifier_merge import merge_classifier

    out = Path(task.out)
    origin = origin_of(task.base)
    merge_classifier(
        origin,
        Path(task.adapter),
        out,
        lambda text: send(PredictionStatus(message=text)),
        labels=task.labels,
    )
    send(PredictionDone(path=str(out)))


def _reported(send: Send, work: Callable[[], None]) -> int:
    """Send the error of the work, if any; return the exit status."""
    try:
        work()
    except UserError as error:
        send(PredictionFailed(message=str(error), exit_status=error.exit_status))
        return error.exit_status
    except Exception as error:
        traceback.print_exc()
        send(PredictionFailed(message=error_text(error)))
        return 1
    return 0


def _own_stdout() -> BinaryIO:
    """A copy of standard output for events; what libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


if __name__ == "__main__":
    sys.exit(main())
