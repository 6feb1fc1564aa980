"""Evaluation of a model on a file: the request to the process that has the model, the lines of its
journal, and the report that is kept.

Losses are in nats. Scores of answers and classes are shares (0..1); BLEU and chrF are 0..100.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from tui_trainer.contracts.job import Precision, Quantization, Task
from tui_trainer.contracts.runs.metrics import ClassScore

SCHEMA = 1  # version of a report's format
Verdict = Literal["better", "worse", "no difference shown", "too few to tell"]
Test = Literal["exact McNemar", "paired bootstrap"]


class LoadRequest(msgspec.Struct, frozen=True, kw_only=True):
    """The model that the evaluating process is to load."""

    model: str  # the base: "builtin", a folder or a Hugging Face id
    adapter: str | None  # folder of the adapter; None: the base alone
    # Tokens of a row in the loss, longer ones are cut at the end; None: as many as the base reads,
    # 2,048 at most.
    max_length: int | None = None
    precision: Precision | None = None  # None: fp32 on a CPU, bf16 on a GPU that has it
    quantization: Quantization = "none"  # of the base
    trust_remote_code: bool = False  # execute Python code from the model's folder
    journal: str  # file to which results are appended


class EvaluationRequest(LoadRequest, frozen=True, kw_only=True, tag="file"):
    """What the evaluating process is to measure on a file."""

    task: Task  # kind of the model
    labels: list[str] = []  # classes of a classifier, by index
    files: list[str]  # data files
    golden: bool = False  # whether the files are golden sets
    columns: dict[str, str] = {}  # the files' names of fields, by the known name
    trained_on: list[str] = []  # training files of the model, in which its rows must not be
    limit: int | None = None  # rows measured, from the start; None: all
    max_new_tokens: int = 256  # of an answer
    losses: bool = True  # whether to measure losses
    answers: bool = True  # whether to generate answers
    needs_answers: str | None = None  # metric for which rows without answers are an error


class TasksRequest(LoadRequest, frozen=True, kw_only=True, tag="tasks"):
    """The tasks of lm-eval that the evaluating process is to measure, with the chat template."""

    tasks: list[str]  # names of tasks or groups
    task_files: str | None = None  # folder with more tasks, as YAML files
    limit: int | None = None  # items of each task, from the start; None: all


MeasuringRequest = EvaluationRequest | TasksRequest


class EvaluationProgress(msgspec.Struct, frozen=True, kw_only=True):
    """A line on the process's standard output."""

    phase: str  # "loading", "losses", "answers", "classes" or the name of a task
    done: int = 0  # rows of this phase, with those of earlier sessions; of a task: requests
    total: int = 0  # rows of this phase, or requests


class JournalStart(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="start"):
    """The first line of a journal."""

    rows: int  # that are measured
    notices: list[str] = []  # sentences about rows that are left out or cut


class JournalItem(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="item"):
    """A row of the data."""

    row: int  # from 0, in the order of the files
    where: str  # file and line, such as "test.jsonl line 12"
    question: str  # last question, or the text
    reference: str | None = None  # expected answer or class; None: there is nothing to answer
    facts: list[str] = []  # key facts of a golden answer


class JournalLoss(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="loss"):
    """The loss of a row; none for a row in which no answer remains within the length."""

    row: int
    loss: float | None  # sum over the tokens, nats; None: not finite
    tokens: int  # that count
    hits: int  # tokens predicted exactly
    weight: float = 1.0  # of the row


class JournalAnswer(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="answer"):
    """The model's answer to a row."""

    row: int
    answer: str


class JournalClass(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="class"):
    """The class that a classifier gives a row."""

    row: int
    predicted: str  # the most probable class
    probability: float  # of it (0..1)
    loss: float | None = None  # nats; None: not finite, or a class that the model does not have
    weight: float = 1.0  # of the row


class TaskMetric(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of a task, as lm-eval measured it."""

    value: float | None  # None: not finite
    stderr: float | None = None  # standard error; None: lm-eval has none
    higher_is_better: bool = True


class TaskItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item of a task, as lm-eval logged it."""

    where: str  # its number, and the filter where there are several
    hash: str  # of the item's content, by which two evaluations of it are paired
    question: str  # end of the prompt, or the whole
    reference: str  # expected answer
    answer: str | None = None  # the model's, as lm-eval's filter gave it
    scores: dict[str, float] = {}  # by metric, where that is a number


class TaskResult(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="task"):
    """The result of a finished task: a line of the journal of tasks, and a part of the report."""

    asked: str  # name that was asked for: the task, or a group of tasks
    task: str  # its name
    version: str = ""  # of the task
    rows: int  # items measured
    of: int | None = None  # items that the task has
    metrics: dict[str, TaskMetric]  # by name
    items: list[TaskItem] = []


JournalLine = JournalStart | JournalItem | JournalLoss | JournalAnswer | JournalClass


class EvaluatedItem(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the data with what the model made of it."""

    where: str  # file and line
    question: str  # last question, or the text
    reference: str | None  # expected answer or class
    answer: str | None  # the model's answer or class
    right: bool | None = None  # whether the answer counts as right; None: nothing to answer
    scores: dict[str, float] = {}  # by metric


class Paired(msgspec.Struct, frozen=True, kw_only=True):
    """The comparison of a metric of two models on the same items."""

    metric: str  # its name
    test: Test  # that gave the verdict
    items: int  # that both models were measured on
    before: float  # mean of the first model
    after: float  # mean of the second model
    p: float | None = None  # two-sided, of McNemar's test
    low: float | None = None  # ends of the confidence interval of the change, by the bootstrap
    high: float | None = None
    lost: int | None = None  # items that only the first model has right
    won: int | None = None  # items that only the second model has right
    verdict: Verdict  # on the second model

    @property
    def change(self) -> float:
        """The second mean minus the first."""
        return self.after - self.before


class ChangedItem(msgspec.Struct, frozen=True, kw_only=True):
    """An item that only one of two models has right."""

    where: str  # file and line
    question: str
    reference: str | None  # expected answer
    before: str | None  # answer of the first model
    after: str | None  # answer of the second model
    golden: bool = False  # whether it is of a golden set


class ScoreComparison(msgspec.Struct, frozen=True, kw_only=True):
    """An evaluated model beside another one, which comes first in each pair."""

    target: str  # the other run, adapter or model
    metrics: dict[str, float | None]  # of the other model, by name
    tests: list[Paired] = []  # of the metrics that can be compared item by item
    lost: list[ChangedItem] = []  # items that only the other model has right
    won: list[ChangedItem] = []  # items that only the evaluated model has right


class TaskRows(msgspec.Struct, frozen=True, kw_only=True):
    """The part of a `TaskResult` that says which items were measured."""

    task: str  # its name
    version: str = ""  # of the task
    rows: int  # items measured


class EvaluationScores(msgspec.Struct, frozen=True, kw_only=True):
    """The part of an `EvaluationReport` that lists and comparisons need, without the rows."""

    name: str  # of the evaluation
    time: float  # of its end, seconds since the epoch
    adapter: str | None = None  # folder of the adapter; None: the base alone
    files: list[str] = []  # data files
    data_hash: str  # SHA-256 over the files' contents
    rows: int  # measured
    metrics: dict[str, float | None]  # by name; None: not finite
    settings: dict[str, str | int | None] = {}  # that change the result, such as max_new_tokens
    tasks: list[TaskRows] = []  # of lm-eval


class EvaluationReport(msgspec.Struct, frozen=True, kw_only=True):
    """`evaluations/NAME.json` of a run or an adapter, and the output of `evaluate --json`."""

    schema: int = SCHEMA  # version of the format
    name: str  # of the evaluation
    time: float  # of its end, seconds since the epoch
    target: str  # the run, adapter or model
    model: str  # the base
    adapter: str | None  # folder of the adapter; None: the base alone
    task: Task  # kind of the model
    files: list[str]  # data files
    data_hash: str  # SHA-256 over the files' contents
    rows: int  # measured
    metrics: dict[str, float | None]  # by name; None: not finite
    tokens: int = 0  # over which the loss is the mean
    settings: dict[str, str | int | None] = {}  # that change the result, such as max_new_tokens
    notices: list[str] = []  # what is left out and why
    classes: list[ClassScore] = []  # scores by class of a classification
    labels: list[str] = []  # of the confusion matrix
    confusion: list[list[int]] = []  # [i][j]: rows of class i that got class j
    items: list[EvaluatedItem] = []  # every row
    tasks: list[TaskResult] = []  # of lm-eval; their items are in `items`
    against: ScoreComparison | None = None  # None: it was measured alone
