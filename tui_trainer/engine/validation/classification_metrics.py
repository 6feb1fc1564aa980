"""Accuracy, precision, recall, F1 and the confusion matrix of a classifier."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt
import torch

from tui_trainer.contracts.runs.metrics import Evaluation, EvaluationFile, finite_or_none
from tui_trainer.engine.data import batching
from tui_trainer.engine.state.session import Session
from tui_trainer.engine.validation.validation_progress import ValidationProgress
from tui_trainer.evaluation.class_scores import class_scores
from tui_trainer.store import atomic
from tui_trainer.text import formats

Matrix = npt.NDArray[np.int64]


def measure(session: Session) -> tuple[float, Evaluation]:
    """Return mean loss (nats per example, weighted) and scores on the validation examples. Draws no
    random numbers."""
    examples = batching.longest_first(session.dataset.validation)
    size = session.pass_size
    count = len(session.dataset.labels)
    confusion = np.zeros((count, count), dtype=np.int64)
    total = torch.zeros((), dtype=torch.float64)
    passes = session.ranks.own_passes(batching.groups_of(examples, size))
    progress = ValidationProgress(session, len(passes), len(examples))
    session.model.eval()
    try:
        with torch.no_grad():
            for group in passes:
                batch = session.collate(group)
                with session.autocast():
                    outputs = session.model(
                        input_ids=batch.input_ids, attention_mask=batch.attention_mask
                    )
                logits = outputs.logits.float()
                losses = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="none")
                part = (losses * batch.weights).sum().to("cpu", torch.float64)
                total += part
                truth, guess = batch.targets.cpu().numpy(), logits.argmax(dim=-1).cpu().numpy()
                counts = (batch.weights > 0).long().cpu().numpy()  # an added pass has weight 0
                np.add.at(confusion, (truth, guess), counts)
                if not progress.add(len(group), part, batching.learned_weight(group)):
                    break
    finally:
        session.model.train()
    progress.end()
    confusion = session.ranks.sum(torch.from_numpy(confusion)).numpy()
    loss = float(session.ranks.sum(total)) / batching.learned_weight(examples)
    return loss, score(confusion, session.dataset.labels, session.state.step, loss)


def score(confusion: Matrix, labels: Sequence[str], step: int, loss: float) -> Evaluation:
    """Return the scores of a confusion matrix of shape (true classes, predicted classes)."""
    scores = msgspec.structs.asdict(class_scores(confusion.tolist(), labels))
    return Evaluation(step=step, time=time.time(), val_loss=finite_or_none(loss), **scores)


def record(session: Session, evaluation: Evaluation, *, improved: bool) -> None:
    """Write `evaluation.json`: this evaluation and the best one."""
    file = session.folder.evaluation_file
    best = evaluation if improved else None
    former = session.folder.evaluation() if best is None else None
    if former is not None:
        for known in (former.best, former.newest):
            best_step = session.state.best.step if session.state.best else None
            if known is not None and known.step == best_step:
                best = best or known
    labels = list(session.dataset.labels)
    try:
        atomic.write_json(file, EvaluationFile(labels=labels, newest=evaluation, best=best))
    except OSError as error:
        if not atomic.is_full(error):
            raise
        message = f"the disk is full: {file.name} is not updated"
        session.report.event("warning", session.state.step, message)


def summary(evaluation: Evaluation) -> str:
    """Return the text of the evaluation's event."""
    return (
        f"val_loss {formats.number(evaluation.val_loss)}, "
        f"accuracy {formats.score(evaluation.accuracy)}, "
        f"macro F1 {formats.score(evaluation.f1_macro)}"
    )
