"""The evaluations of several runs side by side, where they measured the same rows. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tui_trainer.contracts.evaluation import EvaluationScores
from tui_trainer.evaluation import metrics
from tui_trainer.text import formats
from tui_trainer.watch.runs.details.run_diff import ResultRow

_NO_DIFFERENCE = ("limit",)  # a setting that changes which rows are measured, and nothing else
ROWS_DIFFER = (
    "The rows of these evaluations differ from those of the other runs, so they are not compared:"
)
ONE_RUN = "Only one of the runs has these evaluations:"


@dataclass(frozen=True)
class Measured:
    """An evaluation on a file, or on one task of lm-eval."""

    label: str  # names of the files, or the task
    rows: int  # measured
    content: str  # what is the same for the same data: its hash, or the task with its version
    scores: EvaluationScores
    values: dict[str, float | None]  # by metric; None: not finite

    @property
    def key(self) -> tuple[str, int]:
        """Equal for two evaluations on the same rows."""
        return self.content, self.rows

    @property
    def title(self) -> str:
        """`test.jsonl, 40 rows`."""
        return f"{self.label}, {formats.plural(self.rows, 'row')}"

    def text(self) -> str:
        """`test.jsonl, 40 rows: loss 1.250  accuracy 0.900`."""
        values = "  ".join(
            f"{name} {metrics.value_text(name, value)}" for name, value in self.values.items()
        )
        return f"{self.title}: {values}"


@dataclass(frozen=True)
class SharedEvaluation:
    """The evaluations of two or more runs on the same rows."""

    runs: tuple[Measured | None, ...]  # by run; None: it was not evaluated on these rows
    results: tuple[ResultRow, ...]  # by metric

    @property
    def first(self) -> Measured:
        """The evaluation of the first run that has one."""
        return next(one for one in self.runs if one is not None)

    def other_settings(self) -> list[str]:
        """The settings that differ between the runs: `max_length 64, 128`."""
        found = [one.scores.settings for one in self.runs if one is not None]
        texts = []
        for name in dict.fromkeys(name for settings in found for name in settings):
            values = [_setting(settings.get(name)) for settings in found]
            if len(set(values)) > 1 and name not in _NO_DIFFERENCE:
                texts.append(f"{name} {', '.join(values)}")
        return texts


@dataclass(frozen=True)
class SingleEvaluation:
    """An evaluation on rows that no other of the runs was evaluated on."""

    run: int  # index
    measured: Measured
    rows_differ: bool  # another run has an evaluation of this name on other rows


@dataclass(frozen=True)
class EvaluationDiff:
    """The evaluations of several runs: each is either beside those of others, or alone."""

    shared: tuple[SharedEvaluation, ...] = ()
    single: tuple[SingleEvaluation, ...] = ()
    repeated: tuple[tuple[int, Measured, int], ...] = ()  # run, its newest one, and how many

    def notes(self, names: Sequence[str]) -> list[str]:
        """Sentences on what makes the values less comparable; `names` of the runs."""
        found = [
            f"{one.first.label} was measured with different settings: {'; '.join(differing)}"
            for one in self.shared
            if (differing := one.other_settings())
        ]
        return found + [
            f"{names[run]} has {formats.plural(number, 'evaluation')} on the same rows of "
            f"{newest.label}; the newest, {newest.scores.name}, is shown"
            for run, newest, number in self.repeated
        ]

    def apart(self, names: Sequence[str]) -> list[tuple[str, list[str]]]:
        """The evaluations that are not compared: a sentence with the reason, and a line for each
        of them; `names` of the runs."""
        found = []
        for reason, differ in ((ROWS_DIFFER, True), (ONE_RUN, False)):
            lines = [
                f"{names[one.run]}: {one.measured.text()}"
                for one in self.single
                if one.rows_differ is differ
            ]
            if lines:
                found.append((reason, lines))
        return found


def compare_evaluations(runs: Sequence[Sequence[EvaluationScores]]) -> EvaluationDiff:
    """Compares the evaluations of runs, those of each in order, the newest first. Values are side
    by side only where the content of the data and the number of rows are equal."""
    by_run = [list(_measured(evaluations)) for evaluations in runs]
    newest: list[dict[tuple[str, int], Measured]] = []
    repeated = []
    for index, found in enumerate(by_run):
        first: dict[tuple[str, int], Measured] = {}
        for one in found:
            first.setdefault(one.key, one)
        newest.append(first)
        for key, one in first.items():
            number = sum(other.key == key for other in found)
            if number > 1:
                repeated.append((index, one, number))
    shared, single = [], []
    for key in dict.fromkeys(key for first in newest for key in first):
        having = [index for index, first in enumerate(newest) if key in first]
        if len(having) > 1:
            shared.append(_side_by_side([first.get(key) for first in newest]))
            continue
        one = newest[having[0]][key]
        others = [found for index, found in enumerate(by_run) if index != having[0]]
        differ = any(_same_name(one, other) for found in others for other in found)
        single.append(SingleEvaluation(having[0], one, differ))
    return EvaluationDiff(tuple(shared), tuple(single), tuple(repeated))


def _measured(evaluations: Sequence[EvaluationScores]) -> Iterator[Measured]:
    """The evaluations of a run, those on several tasks divided."""
    for scores in evaluations:
        for task in {task.task: task for task in scores.tasks}.values():
            content = f"task {task.task} {task.version}"
            values = {
                name.removeprefix(f"{task.task} "): value
                for name, value in scores.metrics.items()
                if name.startswith(f"{task.task} ")
            }
            yield Measured(task.task, task.rows, content, scores, values)
        if not scores.tasks:
            label = ", ".join(Path(file).name for file in scores.files) or scores.name
            content = scores.data_hash or f"unknown content of {label}"
            yield Measured(label, scores.rows, content, scores, scores.metrics)


def _side_by_side(runs: Sequence[Measured | None]) -> SharedEvaluation:
    names = dict.fromkeys(name for one in runs if one is not None for name in one.values)
    results = [
        ResultRow(
            name,
            "score" if metrics.is_share(name) else "number",
            tuple(None if one is None else one.values.get(name) for one in runs),
            "low" if metrics.is_lower_better(name) else "high",
        )
        for name in names
    ]
    return SharedEvaluation(tuple(runs), tuple(results))


def _same_name(one: Measured, other: Measured) -> bool:
    return one.label == other.label or one.scores.name == other.scores.name


def _setting(value: str | int | None) -> str:
    return "default" if value is None else str(value)
