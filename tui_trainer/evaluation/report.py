"""From the journal of an evaluation to its report."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from tui_trainer.contracts.errors import BAD_CONTENT, UserError
from tui_trainer.contracts.evaluation import (
    EvaluatedItem,
    EvaluationReport,
    EvaluationRequest,
    JournalItem,
)
from tui_trainer.contracts.job import Task
from tui_trainer.contracts.runs.metrics import finite_or_none
from tui_trainer.evaluation import golden, metrics, text_scores
from tui_trainer.evaluation.class_scores import ClassScores, class_scores, confusion_matrix
from tui_trainer.evaluation.journal import Journal
from tui_trainer.store import atomic, paths
from tui_trainer.store.regular_files import read_regular
from tui_trainer.store.runs import evaluation_files
from tui_trainer.text import formats

_LARGEST_EXPONENT = 700.0  # of a perplexity that is a finite number
_BY_ITEM = {
    "exact_match": text_scores.exact_match,
    "token_f1": text_scores.token_f1,
    "rouge1": lambda reference, answer: text_scores.rouge_n(reference, answer, 1),
    "rouge2": lambda reference, answer: text_scores.rouge_n(reference, answer, 2),
    "rougeL": text_scores.rouge_l,
}


class Scored:
    """The scores of a finished journal.

    values: each metric by name; None where it is not finite or there is nothing to measure it on.
    items: every row, in the order of the files.
    notices: sentences about rows that could not be measured.
    """

    def __init__(self, journal: Journal, task: Task, wanted: Sequence[str], labels: Sequence[str]):
        """Raises `UserError` where metrics of answers are wanted and no row has an answer."""
        self.values: dict[str, float | None] = {}
        self.tokens = 0
        self.notices: list[str] = list(journal.start.notices) if journal.start else []
        self.classes: ClassScores | None = None
        self.labels: list[str] = []
        self.bleu_tokenizer: str | None = None
        if task == "classification":
            self._score_classes(journal, labels)
        else:
            self._score_losses(journal)
            self._score_answers(journal, wanted)
        self.values = {name: self.values[name] for name in wanted if name in self.values}
        self.items = [self._item(journal, journal.items[row]) for row in sorted(journal.items)]

    def _score_losses(self, journal: Journal) -> None:
        losses = list(journal.losses.values())
        if not losses:
            return
        self.tokens = sum(line.tokens for line in losses)
        weight = math.fsum(line.weight * line.tokens for line in losses)
        total = math.fsum(
            math.nan if line.loss is None else line.loss * line.weight for line in losses
        )
        loss = total / weight
        self.values["loss"] = finite_or_none(loss)
        self.values["perplexity"] = perplexity(loss)
        hits = math.fsum(line.hits * line.weight for line in losses)
        self.values["token_accuracy"] = hits / weight

    def _score_answers(self, journal: Journal, wanted: Sequence[str]) -> None:
        answered = [
            (item.reference, journal.answers[row].answer)
            for row, item in sorted(journal.items.items())
            if item.reference is not None and row in journal.answers
        ]
        if not answered:
            return
        references, answers = [one for one, _ in answered], [other for _, other in answered]
        for name, score in _BY_ITEM.items():
            if name in wanted:
                self.values[name] = statistics.fmean(score(one, two) for one, two in answered)
        if "bleu" in wanted:
            self.values["bleu"] = text_scores.bleu(references, answers)
            self.bleu_tokenizer = text_scores.bleu_tokenizer(references)
        if "chrf" in wanted:
            self.values["chrf"] = text_scores.chrf(references, answers)

    def _score_classes(self, journal: Journal, labels: Sequence[str]) -> None:
        rows = sorted(row for row in journal.items if row in journal.classes)
        true = [journal.items[row].reference or "" for row in rows]
        unknown = [label for label in true if label not in set(labels)]
        if unknown:
            names = list(dict.fromkeys(unknown))
            shown = ", ".join(repr(name) for name in names[:3])
            self.notices.append(
                f"{formats.plural(len(unknown), 'row')} of "
                f"{formats.plural(len(names), 'class', 'classes')} that the model was not trained "
                f"on count as wrong, and not in the loss: {shown}{', …' if len(names) > 3 else ''}"
            )
        self.labels = list(dict.fromkeys([*labels, *unknown]))
        predicted = [journal.classes[row].predicted for row in rows]
        self.classes = class_scores(confusion_matrix(true, predicted, self.labels), self.labels)
        for name in metrics.CLASSES[1:]:
            self.values[name] = getattr(self.classes, name)
        known = [journal.classes[r] for r, label in zip(rows, true, strict=True) if label in labels]
        self.tokens = len(known)
        total = math.fsum(
            math.nan if line.loss is None else line.loss * line.weight for line in known
        )
        weight = math.fsum(line.weight for line in known)
        self.values["loss"] = finite_or_none(total / weight) if weight else None

    def _item(self, journal: Journal, item: JournalItem) -> EvaluatedItem:
        scores: dict[str, float] = {}
        answer: str | None = None
        right: bool | None = None
        if item.row in journal.classes:
            line = journal.classes[item.row]
            answer, right = line.predicted, line.predicted == item.reference
            scores["probability"] = line.probability
            if line.loss is not None:
                scores["loss"] = line.loss
        if item.row in journal.losses:
            measured = journal.losses[item.row]
            if measured.loss is not None and measured.tokens:
                scores["loss"] = measured.loss / measured.tokens
        if item.row in journal.answers and item.reference is not None:
            answer = journal.answers[item.row].answer
            for name, score in _BY_ITEM.items():
                scores[name] = score(item.reference, answer)
            right = bool(scores["exact_match"])
            if item.facts:
                right = golden.is_right(item.reference, item.facts, answer)
        return EvaluatedItem(
            where=item.where,
            question=item.question,
            reference=item.reference,
            answer=answer,
            right=right,
            scores=scores,
        )


def make(
    name: str, target: str, request: EvaluationRequest, data_hash: str, scored: Scored
) -> EvaluationReport:
    """Return the report of an evaluation with this name; `target` is what was measured."""
    classes = scored.classes
    return EvaluationReport(
        name=name,
        time=time.time(),
        target=target,
        model=request.model,
        adapter=request.adapter,
        task=request.task,
        files=request.files,
        data_hash=data_hash,
        rows=len(scored.items),
        metrics=scored.values,
        tokens=scored.tokens,
        settings={
            "limit": request.limit,
            "max_length": request.max_length,
            "max_new_tokens": request.max_new_tokens if request.task == "causal-lm" else None,
            "precision": request.precision,
            "quantization": request.quantization,
            "bleu_tokenizer": scored.bleu_tokenizer,
        },
        notices=scored.notices,
        classes=classes.classes if classes is not None else [],
        labels=scored.labels,
        confusion=classes.confusion if classes is not None else [],
        items=scored.items,
    )


def write(report: EvaluationReport, folder: Path) -> Path:
    """Write a report into the folder of a run's evaluations, and return its file."""
    paths.make_private_dir(folder)
    file = folder / f"{report.name}.json"
    atomic.write_json(file, report)
    return file


def read_all(folder: Path) -> tuple[list[EvaluationReport], list[str]]:
    """Return every report in the folder of a run's evaluations, the newest first, and the names of
    the files there that are none."""
    reports, others = [], []
    for file in evaluation_files.files_in(folder):
        try:
            reports.append(msgspec.json.decode(read_regular(file), type=EvaluationReport))
        except (OSError, *BAD_CONTENT):
            others.append(file.name)
    return sorted(reports, key=lambda report: -report.time), others


def check_answers(journal: Journal, metric: str | None, files: str) -> None:
    """Raise `UserError` where a metric of answers was asked for by name, and no row of the files
    has a question with an answer."""
    if metric and not any(item.reference is not None for item in journal.items.values()):
        raise UserError(
            f"{files} has no answers, which {metric} needs: its rows are plain texts; write "
            "question and answer, or ask for --metric loss"
        )


def perplexity(loss: float) -> float | None:
    """Return exp of the mean loss per token; None where the loss is not finite."""
    return math.exp(min(loss, _LARGEST_EXPONENT)) if math.isfinite(loss) else None


def worst_first(items: Sequence[EvaluatedItem]) -> list[EvaluatedItem]:
    """Return the items by quality, the worst first: wrong before right, then by token F1, then by
    how sure a wrong class was or how large the loss is."""

    def key(item: EvaluatedItem) -> tuple[float, float, float]:
        scores: Mapping[str, float] = item.scores
        right = 1.0 if item.right else 0.0
        if "probability" in scores:
            sure = scores["probability"]
            return right, sure if item.right else -sure, 0.0
        return right, scores.get("token_f1", 0.0), -scores.get("loss", 0.0)

    return sorted(items, key=key)
