"""Messages between the process that predicts and its client: JSON lines on stdin and stdout.

The process reads one task. For `PredictSetup` it loads the model, writes `PredictorReady` and then
answers one `PredictRequest` at a time with any number of `RowsPredicted` and `PredictionDone`. For
`MergeClassifier` it writes `PredictionDone` when the model is written. `PredictionStatus` may come
at any time. `PredictionFailed` ends a request, or the process if nothing is loaded. It exits when
stdin closes.
"""

from __future__ import annotations

import msgspec

from tui_trainer.contracts.job import Task


class PredictSetup(msgspec.Struct, frozen=True, kw_only=True, tag="setup"):
    """Load a model for predictions."""

    adapter: str  # folder of the adapter, absolute
    base: str  # its base: "builtin", a folder or a Hugging Face id
    # Classes of a classifier whose folder does not name them (a checkpoint), in order.
    labels: list[str] = msgspec.field(default_factory=list)
    trust_remote_code: bool = False  # whether the base's own Python code may run
    max_new_tokens: int = 256  # most tokens of an answer of a causal model


class MergeClassifier(msgspec.Struct, frozen=True, kw_only=True, tag="merge"):
    """Write base and adapter of a classifier as one model."""

    adapter: str  # folder of the adapter, absolute
    base: str  # its base: "builtin", a folder or a Hugging Face id
    # Classes of a classifier whose folder does not name them (a checkpoint), in order.
    labels: list[str] = msgspec.field(default_factory=list)
    out: str  # a new or empty folder, absolute


PredictorTask = PredictSetup | MergeClassifier


class PredictRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Predict for the rows of a file, or for one text."""

    file: str | None = None  # JSONL, JSON, CSV or Parquet by its suffix; others: lines of text
    text: str | None = None  # instead of a file


class PredictionStatus(msgspec.Struct, frozen=True, kw_only=True, tag="status"):
    """What the process does."""

    message: str  # a few words


class PredictorReady(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """The model is loaded."""

    task: Task  # classification or causal-lm
    labels: list[str] = msgspec.field(default_factory=list)  # classes of a classifier, in order
    notices: list[str] = msgspec.field(default_factory=list)  # sentences for the user


class Prediction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The prediction for one row. Either a label or an answer is given, or why there is none."""

    row: int  # number of the row's line in its file, or of the row where it has no lines; from 1
    input: str = ""  # the text, or the question; empty if the row has none
    label: str | None = None  # the most probable class
    probability: float | None = None  # of `label`
    probabilities: dict[str, float] | None = None  # of every class, in the order of the labels
    answer: str | None = None  # of a causal model
    cut: bool = False  # the text is longer than the base can read, and its end was left out
    error: str | None = None  # why there is no prediction, one sentence


class RowsPredicted(msgspec.Struct, frozen=True, kw_only=True, tag="rows"):
    """Predictions for the next rows, in the order of the file."""

    rows: list[Prediction]
    total: int  # rows of the whole file


class PredictionDone(msgspec.Struct, frozen=True, kw_only=True, tag="done"):
    """A request is complete."""

    path: str | None = None  # folder of a merged model


class PredictionFailed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """A request, or the start, failed."""

    message: str  # one sentence for the user
    exit_status: int = 1  # of a command that shows it


PredictorEvent = (
    PredictionStatus | PredictorReady | RowsPredicted | PredictionDone | PredictionFailed
)
